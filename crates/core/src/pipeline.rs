//! The validated whole: assets, resources and plugins that fit together.

mod complaint;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::asset::Asset;
use crate::graph::AssetGraph;
use crate::partition::DynamicSpace;
use crate::registry::{CONTRACT_VERSION, Plugin, Registry, Resources};
use crate::{Error, ErrorKind, Result};

pub(crate) use complaint::nearest;
pub use complaint::{Complaint, Complaints};

/// Assets, resources and plugins that were checked to fit together. Never changed, and cheap to clone: clones share it.
#[derive(Clone)]
pub struct Pipeline(Arc<Parts>);

#[derive(Clone)]
struct Parts {
    name: String,
    graph: AssetGraph,
    registry: Registry,
    resources: Resources,
    default_io: Option<String>,
    pools: BTreeMap<String, u32>,
}

impl Pipeline {
    /// Starts a pipeline called `name`.
    pub fn builder(name: impl Into<String>) -> PipelineBuilder {
        PipelineBuilder {
            name: name.into(),
            assets: Vec::new(),
            registry: Registry::default(),
            resources: Resources::default(),
            default_io: None,
            pools: BTreeMap::new(),
            complaints: Complaints::default(),
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The assets and how they depend on each other.
    pub fn graph(&self) -> &AssetGraph {
        &self.0.graph
    }

    /// The same pipeline with dynamic sets as one store knows them, by name. This one stays as it is, and may be used on
    /// another store.
    #[must_use]
    pub fn with_sets(&self, known: &BTreeMap<String, DynamicSpace>) -> Self {
        if known.is_empty() {
            return self.clone();
        }
        let mut parts = (*self.0).clone();
        parts.graph = parts.graph.with_sets(known);
        Self(Arc::new(parts))
    }

    /// What the plugins registered.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// What functions may take as [`Res`](crate::asset::Res).
    pub fn resources(&self) -> &Resources {
        &self.0.resources
    }

    /// The slots of each pool, unless the engine is told otherwise.
    pub fn pools(&self) -> &BTreeMap<String, u32> {
        &self.0.pools
    }

    /// The name of the IO manager for assets that name none, if the pipeline says; else the engine's own is used.
    pub fn default_io(&self) -> Option<&str> {
        self.0.default_io.as_deref()
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("name", &self.name())
            .field("assets", &self.graph().len())
            .finish_non_exhaustive()
    }
}

/// Collects the parts of a pipeline; [`build`](Self::build) checks them all at once.
#[derive(Debug)]
pub struct PipelineBuilder {
    name: String,
    assets: Vec<Asset>,
    registry: Registry,
    resources: Resources,
    default_io: Option<String>,
    pools: BTreeMap<String, u32>,
    complaints: Complaints,
}

impl PipelineBuilder {
    /// Adds assets, as `assets![…]` lists them.
    #[must_use]
    pub fn assets(mut self, assets: impl IntoIterator<Item = Asset>) -> Self {
        self.assets.extend(assets);
        self
    }

    /// Adds one asset.
    #[must_use]
    pub fn asset(mut self, asset: Asset) -> Self {
        self.assets.push(asset);
        self
    }

    /// Installs a plugin.
    #[must_use]
    pub fn plugin(mut self, plugin: impl Plugin) -> Self {
        let name = plugin.name().to_owned();
        let contract = plugin.contract();
        if contract != CONTRACT_VERSION {
            let complaint = Error::new(
                ErrorKind::Unsupported,
                format!("plugin {name:?} was written for contract {contract}, this build has {CONTRACT_VERSION}"),
            )
            .code("plugin_contract")
            .fix("install the plugin and flowstone in versions that belong together");
            self.complaints.push(complaint, None);
        } else if let Err(error) = Box::new(plugin).register(&mut self.registry) {
            self.complaints.push(error.about(format!("plugin {name:?}")), None);
        }
        self
    }

    /// Adds something that functions take as [`Res`](crate::asset::Res); one per type.
    #[must_use]
    pub fn resource<T: Send + Sync + 'static>(mut self, resource: T) -> Self {
        if !self.resources.insert(resource) {
            let name = std::any::type_name::<T>();
            let complaint = Error::new(ErrorKind::Conflict, format!("two resources are of type `{name}`"))
                .code("resource_twice")
                .fix("wrap one of them in a type of its own");
            self.complaints.push(complaint, None);
        }
        self
    }

    /// The name of the IO manager for assets that name none.
    #[must_use]
    pub fn default_io(mut self, name: impl Into<String>) -> Self {
        self.default_io = Some(name.into());
        self
    }

    /// A pool with so many slots, which assets take with [`Asset::pool`].
    #[must_use]
    pub fn pool(mut self, name: impl Into<String>, slots: u32) -> Self {
        let name = name.into();
        if self.pools.insert(name.clone(), slots).is_some() {
            let complaint = Error::new(ErrorKind::Conflict, format!("two pools are called {name:?}"))
                .code("pool_twice")
                .fix("give one of them another name");
            self.complaints.push(complaint, None);
        }
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// One error with every complaint, each with the asset, the place in the code and the fix.
    pub fn build(mut self) -> Result<Pipeline> {
        if let Some(name) = self
            .default_io
            .as_deref()
            .filter(|name| self.registry.io_named(name).is_none())
        {
            self.complaints.push(unknown_io(name, &self.registry), None);
        }
        crate::pool::check(&self.assets, &self.pools, &mut self.complaints);
        let graph = AssetGraph::check(
            self.assets,
            &self.registry,
            &self.resources,
            self.default_io.as_deref(),
            &mut self.complaints,
        );
        self.complaints.into_result()?;
        Ok(Pipeline(Arc::new(Parts {
            name: self.name,
            graph,
            registry: self.registry,
            resources: self.resources,
            default_io: self.default_io,
            pools: self.pools,
        })))
    }
}

pub(crate) fn unknown_io(name: &str, registry: &Registry) -> Error {
    let fix = match nearest(name, registry.io_names()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => "install the plugin that registers it with `.plugin(…)`".to_owned(),
    };
    Error::new(ErrorKind::NotFound, format!("no IO manager is called {name:?}"))
        .code("io_unknown")
        .fix(fix)
}
