//! Throws mutations of seeds at a target, and keeps what crashes it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use flowstone_testkit::Draw;

use crate::Target;

/// Inputs are no longer than this, in bytes.
const LEN_MAX: usize = 1 << 16;
/// Mutations of one input, at most.
const MUTATIONS_MAX: usize = 6;
/// An input that takes longer hangs.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes that are borders somewhere: of numbers, of text, of formats.
const BORDERS: [u8; 16] = [
    0, 1, 0x0a, 0x22, 0x2c, 0x2d, 0x3a, 0x5b, 0x7b, 0x7f, 0x80, 0xfb, 0xfc, 0xfd, 0xfe, 0xff,
];

/// An input that must not do what it does.
#[derive(Debug, Clone)]
pub struct Crash {
    /// The input.
    pub input: Vec<u8>,
    /// What it does.
    pub what: String,
}

/// What was thrown at one target.
#[derive(Debug, Clone, Default)]
pub struct Thrown {
    /// How many inputs.
    pub executions: u64,
    /// How many of them were taken and not refused.
    pub taken: u64,
    /// What crashed it; nothing more is thrown after the first.
    pub crash: Option<Crash>,
}

/// Throws the seeds of a target and `count` mutations of them at it; the same ones for the same `seed`.
pub fn throw(target: &Target, count: u64, seed: u64) -> Thrown {
    let corpus = (target.corpus)();
    let mut draw = Draw::seeded(seed);
    let mut thrown = Thrown::default();
    let mutated = (0..count).map(|_| mutate(&corpus, &mut draw));
    for input in corpus.iter().cloned().chain(mutated) {
        thrown.executions += 1;
        match read(target, &input) {
            Ok(is_taken) => thrown.taken += u64::from(is_taken),
            Err(what) => {
                thrown.crash = Some(Crash { input, what });
                break;
            }
        }
    }
    thrown
}

/// Whether the input was taken, or how it crashes.
fn read(target: &Target, input: &[u8]) -> Result<bool, String> {
    let started = Instant::now();
    let went = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    if started.elapsed() > TIME_MAX {
        return Err(format!("it takes {:?}", started.elapsed()));
    }
    went.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied());
        text.unwrap_or("a panic without text").to_owned()
    })
}

fn mutate(corpus: &[Vec<u8>], draw: &mut Draw) -> Vec<u8> {
    let mut input = draw.pick(corpus).clone();
    for _ in 0..=draw.below(MUTATIONS_MAX) {
        let end = input.len() + 1;
        let at = draw.below(end);
        match draw.below(9) {
            0 if at < input.len() => input[at] ^= 1 << draw.below(8),
            1 if at < input.len() => input[at] = *draw.pick(&BORDERS),
            2 if at < input.len() => input[at] = input[at].wrapping_add(draw.below(17) as u8).wrapping_sub(8),
            3 => input.insert(at, *draw.pick(&BORDERS)),
            4 => input.truncate(at),
            5 => {
                let to = (at + draw.below(9)).min(input.len());
                input.drain(at..to);
            }
            6 => {
                let piece: Vec<u8> = input[at..(at + draw.below(33)).min(input.len())].to_vec();
                let again = 1 + draw.below(4);
                input.splice(at..at, piece.repeat(again));
            }
            7 => {
                let other = draw.pick(corpus);
                let from = draw.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                // A length that promises more than there is.
                let huge = [0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
                input.splice(at..at, huge);
            }
        }
    }
    input.truncate(LEN_MAX);
    input
}
