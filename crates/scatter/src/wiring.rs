//! What the functions of a scatter read of the asset's upstreams, and whether they are given what they take.

use flowstone_core::asset::{Argument, ItemPart, Upstream};
use flowstone_core::{Error, ErrorKind, TypeInfo};

/// The upstreams of one function of a scatter, in the order of its arguments: `()` for none, a name, an array of names, or
/// a `Vec` of either names or [`Upstream`]s with a partition mapping.
pub trait Upstreams {
    /// The upstreams.
    fn into_upstreams(self) -> Vec<Upstream>;
}

impl Upstreams for () {
    fn into_upstreams(self) -> Vec<Upstream> {
        Vec::new()
    }
}

impl Upstreams for &str {
    fn into_upstreams(self) -> Vec<Upstream> {
        vec![Upstream::new(self)]
    }
}

impl Upstreams for Upstream {
    fn into_upstreams(self) -> Vec<Upstream> {
        vec![self]
    }
}

impl<U: Into<Upstream>, const N: usize> Upstreams for [U; N] {
    fn into_upstreams(self) -> Vec<Upstream> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<U: Into<Upstream>> Upstreams for Vec<U> {
    fn into_upstreams(self) -> Vec<Upstream> {
        self.into_iter().map(Into::into).collect()
    }
}

/// One of the functions of a scatter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Items,
    Shared,
    Each,
    Batch,
    Gather,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Items => "the function that gives the items",
            Self::Shared => "the function for what all items share",
            Self::Each => "the function for an item",
            Self::Batch => "the function for several items",
            Self::Gather => "the function that gathers",
        }
    }

    /// Whether the function may take this; `is_nested` when the scatter stands within another one's item.
    const fn is_given(self, part: ItemPart, is_nested: bool) -> bool {
        match (self, part) {
            (Self::Each, ItemPart::Item | ItemPart::Shared(_))
            | (Self::Batch, ItemPart::Items | ItemPart::Shared(_))
            | (Self::Gather, ItemPart::Outcomes) => true,
            // They are called for the item that the scatter stands within.
            (Self::Items | Self::Shared | Self::Gather, ItemPart::Item) => is_nested,
            _ => false,
        }
    }

    const fn fix(self) -> &'static str {
        match self {
            Self::Items | Self::Shared => "take values of upstreams; an item is there only where scatters are nested",
            Self::Each => "take `Item<T>`, `Shared<T>` and values of upstreams",
            Self::Batch => "take `ItemBatch<T>`, `Shared<T>` and values of upstreams",
            Self::Gather => "take `Gather<R>` and values of upstreams",
        }
    }
}

/// What one function reads.
#[derive(Clone)]
pub(crate) struct Wiring {
    role: Role,
    upstreams: Vec<Upstream>,
    arguments: Vec<Argument>,
    /// How many upstreams of the asset stand before these.
    offset: usize,
}

/// The upstreams and arguments of all functions, one after the other.
#[derive(Default)]
pub(crate) struct Layout {
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) arguments: Vec<Argument>,
}

impl Wiring {
    pub(crate) fn new(role: Role, upstreams: impl Upstreams, arguments: Vec<Argument>) -> Self {
        Self {
            role,
            upstreams: upstreams.into_upstreams(),
            arguments,
            offset: 0,
        }
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn upstreams(&self) -> usize {
        self.upstreams.len()
    }

    /// Takes its place behind the functions that were placed before.
    pub(crate) fn place(&mut self, layout: &mut Layout) {
        self.offset = layout.upstreams.len();
        layout.upstreams.extend_from_slice(&self.upstreams);
        layout.arguments.extend_from_slice(&self.arguments);
    }

    /// The type of what all items share, if the function takes it.
    pub(crate) fn shared(&self) -> Option<TypeInfo> {
        self.arguments.iter().find_map(|argument| match argument {
            Argument::Item(ItemPart::Shared(ty)) => Some(*ty),
            _ => None,
        })
    }

    /// True when all that it takes comes with the item itself.
    pub(crate) fn is_self_contained(&self) -> bool {
        self.upstreams.is_empty() && self.shared().is_none()
    }

    /// What does not fit, where all items share a value of type `shared`.
    pub(crate) fn check(&self, is_nested: bool, shared: Option<TypeInfo>) -> Vec<Error> {
        let takes = |argument: &&Argument| matches!(argument, Argument::Upstream { .. });
        let (name, takes) = (self.role.name(), self.arguments.iter().filter(takes).count());
        let mut complaints = Vec::new();
        if takes != self.upstreams.len() {
            let named = self.upstreams.len();
            let message = format!("{name} takes {takes} upstream values, {named} are named for it");
            let complaint = Error::new(ErrorKind::Invalid, message).code("scatter_upstreams");
            complaints.push(complaint.fix("name one upstream for each argument that is a value, beside the function"));
        }
        for argument in &self.arguments {
            let Argument::Item(part) = argument else { continue };
            if !self.role.is_given(*part, is_nested) {
                let message = format!("{name} takes {}, and is not given that", called(*part));
                let complaint = Error::new(ErrorKind::Invalid, message).code("scatter_argument");
                complaints.push(complaint.fix(self.role.fix()));
            } else if let ItemPart::Shared(wanted) = part {
                complaints.extend(check_shared(name, *wanted, shared));
            }
        }
        complaints
    }
}

fn check_shared(name: &str, wanted: TypeInfo, shared: Option<TypeInfo>) -> Option<Error> {
    match shared {
        None => Some(
            Error::new(
                ErrorKind::Invalid,
                format!("{name} takes `Shared`, and the items share nothing"),
            )
            .code("shared_missing")
            .fix("say what they share with `.shared(…)`"),
        ),
        Some(shared) if shared != wanted => Some(
            Error::new(
                ErrorKind::TypeMismatch,
                format!("{name} takes `Shared<{wanted:?}>`, and the items share a `{shared:?}`"),
            )
            .code("shared_type")
            .fix(format!("take `Shared<{shared:?}>`")),
        ),
        Some(_) => None,
    }
}

const fn called(part: ItemPart) -> &'static str {
    match part {
        ItemPart::Item => "`Item`",
        ItemPart::Items => "`ItemBatch`",
        ItemPart::Shared(_) => "`Shared`",
        ItemPart::Outcomes => "`Gather`",
    }
}
