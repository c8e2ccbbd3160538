//! From the form of a file to a scenario: every value in its range, every fault possible.

mod faults;
mod links;

use std::{ops::RangeInclusive, time::Duration};

use shoal_core::units::Size;
use shoal_wire::geometry::Geometry;
use toml::Spanned;

use super::{
    Arrival, Content, Overrides, Scenario, ScenarioError, SlowNodes, Upstream, Zones,
    duration::parse_duration,
    file::{File, RawArrival, RawContent, RawUpstream, Source},
};
use links::multiple_or_rate;

const NODES: RangeInclusive<i64> = 1..=100_000;
const ZONES_MAX: i64 = 1000;
const LAYERS_MAX: usize = 1000;
const LATENCY_MAX: Duration = Duration::from_secs(1);
/// At most a thousand groups.
const SHARES: RangeInclusive<f64> = 0.001..=1.0;
const NAME_BYTES_MAX: usize = 63;
const ABOUT_BYTES_MAX: usize = 400;

impl Scenario {
    /// Reads a scenario. `file` is named in errors.
    ///
    /// # Errors
    /// At the first thing that cannot be, with the file, the line, the key, and what is allowed.
    pub fn parse(text: &str, file: &str) -> Result<Self, ScenarioError> {
        Self::parse_with(text, file, &Overrides::default())
    }

    /// Reads a scenario with some values replaced.
    ///
    /// # Errors
    /// As [`Self::parse`]; a value that is wrong only because another was replaced is one too.
    pub fn parse_with(text: &str, file: &str, overrides: &Overrides) -> Result<Self, ScenarioError> {
        let source = Source { file, text };
        let file = source.read()?;
        Check { source, overrides }.scenario(&file)
    }
}

/// What the checks have in common.
struct Check<'a> {
    source: Source<'a>,
    overrides: &'a Overrides,
}

impl Check<'_> {
    fn scenario(&self, file: &File) -> Result<Scenario, ScenarioError> {
        let nodes = match self.overrides.nodes {
            Some(nodes) => self.overridden("nodes", i64::from(nodes), &NODES)?,
            None => self.number("nodes", &file.nodes, NODES)?,
        };
        let link = match self.overrides.link {
            Some(link) if link.up > 0 && link.down > 0 => link,
            Some(_) => return Err(self.refuse_override("link", "rates of at least a byte per second".to_owned())),
            None => self.link("link", &file.link, None)?,
        };
        let mut scenario = Scenario {
            name: self.name(&file.name)?,
            about: self.about(&file.about)?,
            nodes,
            link,
            upstream: self.upstream(file.upstream.as_ref(), link.up)?,
            zones: None,
            latency: self.latency(file.latency.as_ref())?,
            content: self.content(&file.content)?,
            arrival: self.arrival(file.arrival.as_ref())?,
            warm_share: self.warm_share(file.warm_share.as_ref())?,
            slow_nodes: None,
            faults: Vec::new(),
            seed: self.seed(file.seed.as_ref())?,
        };
        if let Some(zones) = &file.zones {
            let count = self.number("zones.count", &zones.count, 1..=ZONES_MAX.min(i64::from(nodes)))?;
            let uplink = self.link("zones.uplink", &zones.uplink, Some(link))?;
            scenario.zones = Some(Zones { count, uplink });
        }
        if let Some(slow) = &file.slow_nodes {
            let count = self.number("slow_nodes.count", &slow.count, 1..=i64::from(nodes) - 1)?;
            scenario.slow_nodes =
                Some(SlowNodes { count, link: self.link("slow_nodes.link", &slow.link, Some(link))? });
        }
        scenario.faults = self.faults(&file.faults, &scenario)?;
        Ok(scenario)
    }

    fn name(&self, name: &Spanned<String>) -> Result<String, ScenarioError> {
        let text = name.get_ref();
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(is_allowed) {
            let problem = format!("lower-case letters, digits and `-` only, 1 to {NAME_BYTES_MAX} of them");
            return Err(self.refuse("name", name, problem));
        }
        Ok(text.clone())
    }

    fn about(&self, about: &Spanned<String>) -> Result<String, ScenarioError> {
        let text = about.get_ref();
        if text.trim().is_empty() || text.len() > ABOUT_BYTES_MAX || text.chars().any(char::is_control) {
            let problem = format!("one line that says what the scenario is, at most {ABOUT_BYTES_MAX} bytes");
            return Err(self.refuse("about", about, problem));
        }
        Ok(text.clone())
    }

    fn upstream(&self, raw: Option<&RawUpstream>, node_up: u64) -> Result<Upstream, ScenarioError> {
        let ranges = raw.and_then(|raw| raw.ranges).unwrap_or(true);
        if let Some(rate) = self.overrides.upstream {
            let nothing = || self.refuse_override("upstream.rate", "a rate of at least a byte per second".to_owned());
            return if rate == 0 { Err(nothing()) } else { Ok(Upstream { rate, ranges }) };
        }
        let rate = match raw.and_then(|raw| raw.rate.as_ref()) {
            Some(rate) => multiple_or_rate(rate.get_ref(), Some(node_up))
                .map_err(|problem| self.refuse("upstream.rate", rate, problem))?,
            None => node_up,
        };
        Ok(Upstream { rate, ranges })
    }

    fn latency(&self, raw: Option<&Spanned<String>>) -> Result<Duration, ScenarioError> {
        let problem = |latency| format!("{latency:?} is longer than the most, {LATENCY_MAX:?} one way");
        if let Some(latency) = self.overrides.latency {
            let is_allowed = latency <= LATENCY_MAX;
            return if is_allowed { Ok(latency) } else { Err(self.refuse_override("latency", problem(latency))) };
        }
        let Some(raw) = raw else { return Ok(Duration::ZERO) };
        let latency = self.duration("latency", raw)?;
        if latency > LATENCY_MAX { Err(self.refuse("latency", raw, problem(latency))) } else { Ok(latency) }
    }

    fn content(&self, raw: &Spanned<RawContent>) -> Result<Content, ScenarioError> {
        if let Some(layers) = &self.overrides.layers {
            if layers.is_empty() || layers.len() > LAYERS_MAX {
                return Err(self.refuse_override("content.layers", format!("1 to {LAYERS_MAX} sizes")));
            }
            return self.resized(Content::Image(layers.clone()), "content.layers");
        }
        let content = match (&raw.get_ref().blob, &raw.get_ref().layers) {
            (Some(blob), None) => Content::Blob(self.size("content.blob", blob)?),
            (None, Some(layers)) => {
                let sizes = layers.get_ref();
                if sizes.is_empty() || sizes.len() > LAYERS_MAX {
                    return Err(self.refuse("content.layers", layers, format!("1 to {LAYERS_MAX} sizes")));
                }
                Content::Image(sizes.iter().map(|size| self.size("content.layers", size)).collect::<Result<_, _>>()?)
            }
            _ => {
                return Err(self.refuse(
                    "content",
                    raw,
                    "either `blob`, a size, or `layers`, a list of sizes".to_owned(),
                ));
            }
        };
        self.resized(content, "content")
    }

    /// The content with the size from outside the file, its layers in proportion.
    fn resized(&self, content: Content, key: &str) -> Result<Content, ScenarioError> {
        let Some(size) = self.overrides.size else {
            return match &content {
                Content::Image(layers) if self.overrides.layers.is_some() => {
                    layers.iter().try_for_each(|layer| self.overridden_size(key, *layer)).map(|()| content)
                }
                _ => Ok(content),
            };
        };
        let total = layers_total(&content);
        let scale = |bytes: u64| u64::try_from(u128::from(bytes) * u128::from(size) / total.max(1)).unwrap_or(u64::MAX);
        let resized = match content {
            Content::Blob(_) => Content::Blob(size),
            Content::Image(layers) => Content::Image(layers.into_iter().map(scale).collect()),
        };
        match &resized {
            Content::Blob(bytes) => self.overridden_size("content.blob", *bytes)?,
            Content::Image(layers) => {
                layers.iter().try_for_each(|layer| self.overridden_size("content.layers", *layer))?;
            }
        }
        Ok(resized)
    }

    fn overridden_size(&self, key: &str, bytes: u64) -> Result<(), ScenarioError> {
        check_size(bytes).map_err(|problem| self.refuse_override(key, problem))
    }

    fn size(&self, key: &str, raw: &Spanned<String>) -> Result<u64, ScenarioError> {
        let size: Size = raw.get_ref().parse().map_err(|error| self.refuse(key, raw, format!("{error}")))?;
        check_size(size.0).map_err(|problem| self.refuse(key, raw, problem))?;
        Ok(size.0)
    }

    fn arrival(&self, raw: Option<&RawArrival>) -> Result<Arrival, ScenarioError> {
        let Some(raw) = raw else { return Ok(Arrival::Together) };
        let kind = raw.kind.get_ref().as_str();
        match (kind, &raw.over, &raw.share) {
            ("together", None, None) => Ok(Arrival::Together),
            ("staggered", Some(over), None) => Ok(Arrival::Staggered { over: self.duration("arrival.over", over)? }),
            ("rolling", None, Some(share)) if SHARES.contains(share.get_ref()) => {
                Ok(Arrival::Rolling { share: *share.get_ref() })
            }
            ("rolling", None, Some(share)) => {
                let problem = format!("{} is not from {} to {}", share.get_ref(), SHARES.start(), SHARES.end());
                Err(self.refuse("arrival.share", share, problem))
            }
            _ => {
                let allowed = "\"together\"; \"staggered\" with `over`, a duration; or \"rolling\" with `share`";
                let problem = format!("{kind:?} with these keys is no arrival; allowed are {allowed}");
                Err(self.refuse("arrival.kind", &raw.kind, problem))
            }
        }
    }

    fn warm_share(&self, raw: Option<&Spanned<f64>>) -> Result<f64, ScenarioError> {
        let problem = |share| format!("{share} is not from 0.0 to below 1.0: a node has to be left that pulls");
        match (self.overrides.warm_share, raw) {
            (Some(share), _) if (0.0..1.0).contains(&share) => Ok(share),
            (Some(share), _) => Err(self.refuse_override("warm_share", problem(share))),
            (None, Some(share)) if (0.0..1.0).contains(share.get_ref()) => Ok(*share.get_ref()),
            (None, Some(share)) => Err(self.refuse("warm_share", share, problem(*share.get_ref()))),
            (None, None) => Ok(0.0),
        }
    }

    fn seed(&self, raw: Option<&Spanned<i64>>) -> Result<u64, ScenarioError> {
        let problem = || format!("a number from 0 to {}", i64::MAX);
        match (self.overrides.seed, raw) {
            // A file, in which the scenario may be kept, holds no larger ones.
            (Some(seed), _) if i64::try_from(seed).is_ok() => Ok(seed),
            (Some(_), _) => Err(self.refuse_override("seed", problem())),
            (None, Some(seed)) => u64::try_from(*seed.get_ref()).map_err(|_| self.refuse("seed", seed, problem())),
            (None, None) => Ok(1),
        }
    }

    fn duration(&self, key: &str, raw: &Spanned<String>) -> Result<Duration, ScenarioError> {
        parse_duration(raw.get_ref()).map_err(|error| self.refuse(key, raw, error.to_string()))
    }

    /// A number of the file within its range, which lies within that of `u32`.
    fn number(&self, key: &str, raw: &Spanned<i64>, range: RangeInclusive<i64>) -> Result<u32, ScenarioError> {
        in_range(*raw.get_ref(), &range).map_err(|problem| self.refuse(key, raw, problem))
    }

    fn overridden(&self, key: &str, value: i64, range: &RangeInclusive<i64>) -> Result<u32, ScenarioError> {
        in_range(value, range).map_err(|problem| self.refuse_override(key, problem))
    }

    fn refuse<T>(&self, key: &str, at: &Spanned<T>, problem: String) -> ScenarioError {
        let line = self.source.line(&at.span());
        ScenarioError::Value { file: self.source.file.to_owned(), line, key: key.to_owned(), problem }
    }

    fn refuse_override(&self, key: &str, problem: String) -> ScenarioError {
        ScenarioError::Override { file: self.source.file.to_owned(), key: key.to_owned(), problem }
    }
}

fn in_range(value: i64, range: &RangeInclusive<i64>) -> Result<u32, String> {
    let (least, most) = (range.start(), range.end());
    let allowed = if most < least {
        "these nodes leave no number that is allowed".to_owned()
    } else {
        format!("allowed are {least} to {most}")
    };
    match u32::try_from(value) {
        Ok(number) if range.contains(&value) => Ok(number),
        _ => Err(format!("{value} is out of range; {allowed}")),
    }
}

fn check_size(bytes: u64) -> Result<(), String> {
    if bytes == 0 {
        return Err("nothing to pull; allowed is at least 1 byte".to_owned());
    }
    Geometry::of(bytes).map(|_| ()).map_err(|error| error.to_string())
}

/// Layers of up to a tebibyte each, a thousand of them, fit.
fn layers_total(content: &Content) -> u128 {
    match content {
        Content::Blob(bytes) => u128::from(*bytes),
        Content::Image(layers) => layers.iter().map(|layer| u128::from(*layer)).sum(),
    }
}
