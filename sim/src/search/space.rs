//! The space that is searched: some of the parameters, and the values that each may take.

use std::collections::BTreeSet;

use shoal_core::{config::CoreConfig, rng::Stream};
use thiserror::Error;

use super::parameter::{Parameter, contradiction};

/// Most candidates of one search.
pub const CANDIDATES_MAX: usize = 10_000;
/// Ends of a range that are further apart than this factor are searched by factors rather than by steps.
const BY_FACTORS: u64 = 4;
/// Draws for each candidate that is wanted, before a space counts as exhausted.
const DRAWS: usize = 50;

/// Why there is nothing to search.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpaceError {
    /// Not of the form NAME=VALUES.
    #[error(
        "{0:?} is no parameter with values; expected NAME=VALUE,VALUE,... or NAME=LEAST..MOST, as in upload_slots=2,4,6"
    )]
    Form(String),
    /// There is no such parameter.
    #[error("there is no parameter {name:?}; {near}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        near: String,
    },
    /// A value that is none of this parameter.
    #[error("{name}: {text:?} is not {expected}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// The text.
        text: String,
        /// What a value looks like.
        expected: &'static str,
    },
    /// A value outside the range.
    #[error("{name}: {text} is out of range; allowed are {allowed}")]
    Range {
        /// The parameter.
        name: &'static str,
        /// The value.
        text: String,
        /// The range.
        allowed: String,
    },
    /// A range whose end is below its beginning, or no value.
    #[error("{name}: {text:?} holds no value; expected VALUE,VALUE,... or LEAST..MOST with LEAST not above MOST")]
    Empty {
        /// The parameter.
        name: &'static str,
        /// The text.
        text: String,
    },
    /// Named twice.
    #[error("{name} is named twice; name each parameter once, with all its values")]
    Twice {
        /// The parameter.
        name: &'static str,
    },
    /// No parameter at all.
    #[error("no parameter is named; name one, as in upload_slots=2,4,6")]
    Nothing,
    /// More candidates than can be.
    #[error(
        "{count} combinations are too many; at most {CANDIDATES_MAX} are tried: give fewer values, or draw some at random"
    )]
    TooMany {
        /// How many there are.
        count: u128,
    },
    /// Every combination contradicts itself.
    #[error("no combination is left: in each of them {why}")]
    Contradiction {
        /// How the last of them does.
        why: &'static str,
    },
}

/// One parameter with its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// The parameter.
    pub parameter: &'static Parameter,
    /// What it may be.
    pub choice: Choice,
}

/// Values of an axis, in the parameter's unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// One of these.
    List(Vec<u64>),
    /// Anything from the first to the second.
    Range(u64, u64),
}

impl Axis {
    /// Reads `upload_slots=2,4,6` or `window_pieces=16..64`.
    pub fn read(text: &str) -> Result<Self, SpaceError> {
        let (name, values) = text.split_once('=').ok_or_else(|| SpaceError::Form(text.chars().take(80).collect()))?;
        Self::of(name.trim(), values)
    }

    /// Reads the values of a parameter, as `2,4,6` or `16..64`.
    pub fn of(name: &str, values: &str) -> Result<Self, SpaceError> {
        let parameter = Parameter::named(name).ok_or_else(|| unknown(name))?;
        let choice = match values.split_once("..") {
            Some((least, most)) => Choice::Range(value(parameter, least)?, value(parameter, most)?),
            None => Choice::List(values.split(',').map(|text| value(parameter, text)).collect::<Result<_, _>>()?),
        };
        if matches!(choice, Choice::Range(least, most) if least > most) {
            return Err(SpaceError::Empty { name: parameter.name, text: values.to_owned() });
        }
        Ok(Self { parameter, choice })
    }

    /// Whether a value may be taken.
    pub fn holds(&self, value: u64) -> bool {
        match &self.choice {
            Choice::List(values) => values.contains(&value),
            Choice::Range(least, most) => (*least..=*most).contains(&value),
        }
    }

    /// The values of a grid, ascending: those of a list, or up to `points` of a range, its ends among them.
    fn points(&self, points: usize) -> Vec<u64> {
        let values: BTreeSet<u64> = match &self.choice {
            Choice::List(values) => values.iter().copied().collect(),
            Choice::Range(least, most) if most - least < points as u64 => (*least..=*most).collect(),
            Choice::Range(least, most) if points < 2 => BTreeSet::from([between(*least, *most, 0.5)]),
            Choice::Range(least, most) => {
                (0..points).map(|number| between(*least, *most, number as f64 / (points - 1) as f64)).collect()
            }
        };
        values.into_iter().collect()
    }

    fn draw(&self, random: &mut Stream) -> u64 {
        match &self.choice {
            Choice::List(values) => values[random.below(values.len())],
            Choice::Range(least, most) => between(*least, *most, random.unit()),
        }
    }
}

/// The value at a share of the way from one to the other, in equal factors where they are far apart.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two numbers of the type")]
fn between(least: u64, most: u64, share: f64) -> u64 {
    let (from, to) = (least as f64, most as f64);
    let value = if least > 0 && most / least >= BY_FACTORS {
        from * (to / from).powf(share)
    } else {
        from + (to - from) * share
    };
    (value.round() as u64).clamp(least, most)
}

fn value(parameter: &'static Parameter, text: &str) -> Result<u64, SpaceError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(SpaceError::Empty { name: parameter.name, text: text.to_owned() });
    }
    let short = || text.chars().take(40).collect();
    let expected = parameter.unit.example();
    let value =
        parameter.unit.read(text).ok_or_else(|| SpaceError::Value { name: parameter.name, text: short(), expected })?;
    if (parameter.least..=parameter.most).contains(&value) {
        Ok(value)
    } else {
        Err(SpaceError::Range { name: parameter.name, text: short(), allowed: parameter.range() })
    }
}

/// Says which parameters there are: those with a part of the name, or all.
fn unknown(name: &str) -> SpaceError {
    let names = |is_meant: &dyn Fn(&str) -> bool| {
        let names = Parameter::all().iter().map(|parameter| parameter.name).filter(|name| is_meant(name));
        names.collect::<Vec<_>>().join(", ")
    };
    let words: Vec<&str> = name.split(['_', '-']).filter(|word| word.len() > 2).collect();
    let similar = names(&|other| words.iter().any(|word| other.contains(word)));
    let near = if similar.is_empty() {
        format!("there are {}", names(&|_| true))
    } else {
        format!("similar are {similar}; `shoal-sim sweep --parameters` lists all")
    };
    SpaceError::Unknown { name: name.chars().take(40).collect(), near }
}

/// A value for each axis of a space, in order.
pub type Candidate = Vec<u64>;

/// The axes, at least one, each of another parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Space {
    axes: Vec<Axis>,
}

impl Space {
    /// Of these axes.
    pub fn new(axes: Vec<Axis>) -> Result<Self, SpaceError> {
        for (place, axis) in axes.iter().enumerate() {
            if axes[..place].iter().any(|other| other.parameter == axis.parameter) {
                return Err(SpaceError::Twice { name: axis.parameter.name });
            }
        }
        if axes.is_empty() { Err(SpaceError::Nothing) } else { Ok(Self { axes }) }
    }

    /// The axes, in order.
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// What the engine uses when nothing is said.
    pub fn defaults(&self) -> Candidate {
        let core = CoreConfig::default();
        self.axes.iter().map(|axis| axis.parameter.get(&core)).collect()
    }

    /// The configuration of a candidate: the defaults with its values.
    pub fn core(&self, candidate: &Candidate) -> CoreConfig {
        let mut core = CoreConfig::default();
        for (axis, value) in self.axes.iter().zip(candidate) {
            axis.parameter.set(&mut core, *value);
        }
        core
    }

    /// Every combination, up to `points` values of each range, that does not contradict itself.
    pub fn grid(&self, points: usize) -> Result<Vec<Candidate>, SpaceError> {
        let axes: Vec<Vec<u64>> = self.axes.iter().map(|axis| axis.points(points)).collect();
        let count = axes.iter().fold(1_u128, |count, values| count.saturating_mul(values.len() as u128));
        if count > CANDIDATES_MAX as u128 {
            return Err(SpaceError::TooMany { count });
        }
        let mut candidates = vec![Vec::new()];
        for values in &axes {
            candidates = candidates
                .iter()
                .flat_map(|candidate: &Candidate| values.iter().map(|value| [candidate.as_slice(), &[*value]].concat()))
                .collect();
        }
        let mut why = "";
        candidates.retain(|candidate| match contradiction(&self.core(candidate)) {
            Some(reason) => {
                why = reason;
                false
            }
            None => true,
        });
        if candidates.is_empty() { Err(SpaceError::Contradiction { why }) } else { Ok(candidates) }
    }

    /// Up to `count` different combinations, drawn with `seed`: fewer where there are no more. Equal calls give equal
    /// candidates, and the first ones of a larger `count` are those of a smaller one.
    pub fn random(&self, count: usize, seed: u64) -> Result<Vec<Candidate>, SpaceError> {
        if count > CANDIDATES_MAX {
            return Err(SpaceError::TooMany { count: count as u128 });
        }
        let mut random = Stream::new(seed, "candidates");
        let mut drawn = BTreeSet::new();
        let mut candidates = Vec::new();
        let mut why = "";
        for _ in 0..count * DRAWS {
            if candidates.len() == count {
                break;
            }
            let candidate: Candidate = self.axes.iter().map(|axis| axis.draw(&mut random)).collect();
            match contradiction(&self.core(&candidate)) {
                Some(reason) => why = reason,
                None if drawn.insert(candidate.clone()) => candidates.push(candidate),
                None => {}
            }
        }
        if candidates.is_empty() { Err(SpaceError::Contradiction { why }) } else { Ok(candidates) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(axes: &[&str]) -> Space {
        Space::new(axes.iter().map(|text| Axis::read(text).unwrap()).collect()).unwrap()
    }

    fn refusal(text: &str) -> String {
        Axis::read(text).unwrap_err().to_string()
    }

    #[test]
    fn a_grid_is_every_combination_once() {
        let space = space(&["upload_slots=2,6,4,4", "have_interval=5ms..80ms"]);
        let grid = space.grid(5).unwrap();
        assert_eq!(grid.len(), 3 * 5);
        assert_eq!(
            grid[..6],
            [vec![2, 5000], vec![2, 10_000], vec![2, 20_000], vec![2, 40_000], vec![2, 80_000], vec![4, 5000]]
        );
        assert_eq!(space.core(&grid[0]).swarm.upload_slots, 2);
        assert_eq!(space.defaults(), [5, 20_000]);
        assert_eq!(super::Axis::read("upload_slots=4..6").unwrap().points(9), [4, 5, 6], "equal steps, each once");
        assert_eq!(super::Axis::read("upload_slots=4..8").unwrap().points(1), [6]);
    }

    #[test]
    fn draws_repeat_stay_within_and_differ() {
        let space = space(&["upload_slots=2,4,6", "window_pieces=8..512", "leases_start=1..30"]);
        let drawn = space.random(40, 7).unwrap();
        assert_eq!(drawn.len(), 40);
        assert_eq!(drawn[..10], space.random(10, 7).unwrap());
        assert_ne!(drawn, space.random(40, 8).unwrap());
        assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), 40);
        for candidate in &drawn {
            assert!(space.axes().iter().zip(candidate).all(|(axis, value)| axis.holds(*value)), "{candidate:?}");
            assert!(candidate[2] <= 16, "leases_start above leases_max contradicts itself: {candidate:?}");
        }
        let low = drawn.iter().filter(|candidate| candidate[1] < 64).count();
        assert!((10..30).contains(&low), "half of a range by factors is below the middle factor: {low}");
        assert_eq!(
            super::Space::new(vec![Axis::read("tries_per_home=1,2").unwrap()]).unwrap().random(9, 1).unwrap().len(),
            2
        );
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_is_allowed() {
        assert!(refusal("upload_slots").contains("NAME=VALUE"));
        let unknown = refusal("upload_slotz=1");
        assert!(unknown.contains("upload_slotz") && unknown.contains("upload_backlog"), "{unknown}");
        assert!(refusal("x=1").contains("window_pieces"), "all are named");
        assert!(refusal("upload_slots=some").contains("a whole number"));
        assert!(refusal("have_interval=20").contains("250ms"));
        assert!(refusal("upload_slots=0").contains("allowed are 1 to 64"));
        assert!(refusal("upload_slots=").contains("no value"));
        assert!(refusal("upload_slots=6..2").contains("LEAST not above MOST"));
        let twice = ["upload_slots=1", "upload_slots=2"].map(|text| Axis::read(text).unwrap()).to_vec();
        assert_eq!(Space::new(twice), Err(SpaceError::Twice { name: "upload_slots" }));
        assert_eq!(Space::new(Vec::new()), Err(SpaceError::Nothing));
        let wide = ["upload_slots=1..64", "requests_max=1..64", "neighbours=1..40"];
        let count = space(&wide).grid(64).unwrap_err().to_string();
        assert!(count.contains("163840") && count.contains("10000"), "{count}");
        assert!(space(&wide).random(10_001, 1).is_err());
        let contradiction = space(&["leases_start=32,64"]).grid(2).unwrap_err().to_string();
        assert!(contradiction.contains("leases_start is above leases_max"), "{contradiction}");
        assert!(space(&["leases_start=32,64"]).random(2, 1).is_err());
    }
}
