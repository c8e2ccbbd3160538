//! The engine's parameters by name, each with its unit and the range in which it makes sense.

use std::{fmt, time::Duration};

use shoal_core::config::CoreConfig;

use super::value::Unit;

/// One of the engine's parameters, a field of a part of [`CoreConfig`].
#[derive(Clone, Copy)]
pub struct Parameter {
    /// Its name, that of the field.
    pub name: &'static str,
    /// The part of the configuration that it is in: `swarm`, `injection`, `directory` or `membership`.
    pub part: &'static str,
    /// What its number counts.
    pub unit: Unit,
    /// The least value, in its unit.
    pub least: u64,
    /// The largest value, in its unit.
    pub most: u64,
    get: fn(&CoreConfig) -> u64,
    set: fn(&mut CoreConfig, u64),
}

impl Parameter {
    /// All parameters that have an influence on pulls.
    pub fn all() -> &'static [Self] {
        PARAMETERS
    }

    /// The parameter of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PARAMETERS.iter().find(|parameter| parameter.name == name)
    }

    /// Its value in a configuration, in its unit.
    pub fn get(&self, core: &CoreConfig) -> u64 {
        (self.get)(core)
    }

    /// Gives it a value, in its unit; one outside its range becomes the nearest end.
    pub fn set(&self, core: &mut CoreConfig, value: u64) {
        (self.set)(core, value.clamp(self.least, self.most));
    }

    /// Its range as people read it.
    pub fn range(&self) -> String {
        format!("{} to {}", self.unit.write(self.least), self.unit.write(self.most))
    }
}

impl PartialEq for Parameter {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.part, self.name)
    }
}

/// A field as a number of its unit.
trait Field {
    fn read(&self) -> u64;
    fn write(&mut self, value: u64);
}

impl Field for usize {
    fn read(&self) -> u64 {
        *self as u64
    }

    fn write(&mut self, value: u64) {
        *self = Self::try_from(value).unwrap_or(Self::MAX);
    }
}

impl Field for u32 {
    fn read(&self) -> u64 {
        u64::from(*self)
    }

    fn write(&mut self, value: u64) {
        *self = Self::try_from(value).unwrap_or(Self::MAX);
    }
}

impl Field for u64 {
    fn read(&self) -> u64 {
        *self
    }

    fn write(&mut self, value: u64) {
        *self = value;
    }
}

impl Field for Duration {
    fn read(&self) -> u64 {
        u64::try_from(self.as_micros()).unwrap_or(u64::MAX)
    }

    fn write(&mut self, value: u64) {
        *self = Self::from_micros(value);
    }
}

impl Field for f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "factors are small and positive")]
    fn read(&self) -> u64 {
        (self * 1000.0).round() as u64
    }

    fn write(&mut self, value: u64) {
        *self = value as f64 / 1000.0;
    }
}

const MS: u64 = 1000;
const S: u64 = 1_000_000;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

macro_rules! table {
    ($($part:ident { $($field:ident $unit:ident $least:expr, $most:expr;)+ })+) => {
        &[$($(Parameter {
            name: stringify!($field),
            part: stringify!($part),
            unit: Unit::$unit,
            least: $least,
            most: $most,
            get: |core| core.$part.$field.read(),
            set: |core, value| core.$part.$field.write(value),
        },)+)+]
    };
}

/// Bounds of memory and the freshness of answers are left out: they change nothing in a run that keeps to them.
const PARAMETERS: &[Parameter] = table! {
    swarm {
        upload_slots Count 1, 64;
        upload_slots_plenty Count 1, 64;
        upload_slots_young Count 1, 64;
        upload_backlog Count 0, 64;
        yield_pieces Count 0, 65536;
        refused_max Count 0, 4096;
        requests_max Count 1, 64;
        requests_plenty Count 1, 64;
        requests_behind Count 0, 64;
        requests_young Count 1, 64;
        requests_slow_time Time 10 * MS, 600 * S;
        behind_pieces Count 0, 65536;
        lease_requests Count 0, 64;
        plenty_pieces Count 0, 65536;
        follow_pieces Count 0, 65536;
        neighbours Count 1, 128;
        neighbours_far Count 0, 128;
        neighbours_max Count 1, 512;
        requests_far_max Count 1, 64;
        gateway_patience_min Time 10 * MS, 60 * S;
        gateway_patience_max Time 10 * MS, 600 * S;
        window_pieces Count 1, 4096;
        have_interval Time MS, 2 * S;
        news_interval Time 0, 60 * S;
        hello_interval Time 100 * MS, 60 * S;
        hello_retry Time 50 * MS, 10 * S;
        stall_min Time 100 * MS, 30 * S;
        stall_unknown Time 100 * MS, 60 * S;
        rest_min Time 100 * MS, 60 * S;
        rest_max Time S, 600 * S;
        busy_retry_min Time MS, 10 * S;
        busy_retry_max Time 5 * MS, 10 * S;
        hedge_min Time 10 * MS, 30 * S;
        announce_timeout Time 50 * MS, 10 * S;
        lease_keepalive Time 50 * MS, 10 * S;
        better_home_interval Time 100 * MS, 60 * S;
        followers_interval Time 100 * MS, 60 * S;
    }
    injection {
        leases_start Count 1, 256;
        leases_max Count 1, 1024;
        hungry_pieces Count 0, 65536;
        run_bytes_start Bytes 256 * KIB, 1024 * MIB;
        run_bytes_max Bytes 256 * KIB, 16 * 1024 * MIB;
        run_time Time 10 * MS, 60 * S;
        opening_max Time 0, 10 * S;
        tick Time 10 * MS, 5 * S;
        refresh Time 50 * MS, 30 * S;
        refresh_held Time S, 600 * S;
        collect Time 0, 10 * S;
        collect_unsettled Time 0, 10 * S;
        lease_lost_after Time 100 * MS, 30 * S;
        lease_silence Time 100 * MS, 60 * S;
        lease_stalled_min Time 100 * MS, 60 * S;
        lease_stalled_unknown Time 100 * MS, 120 * S;
        late_min Time 50 * MS, 30 * S;
        slow_bar Time 100 * MS, 120 * S;
        help_after Time 10 * MS, 60 * S;
        backoff_min Time 10 * MS, 10 * S;
        backoff_max Time 100 * MS, 120 * S;
        give_up_after Time S, 120 * S;
        give_up_started Time S, 600 * S;
        stuck_patience Time 100 * MS, 30 * S;
        question_patience Time 100 * MS, 30 * S;
    }
    directory {
        home_timeout Time 20 * MS, 10 * S;
        tries_per_home Count 1, 16;
        upstream_timeout Time 100 * MS, 60 * S;
        pending_timeout Time 100 * MS, 60 * S;
    }
    membership {
        probe_interval Time 100 * MS, 30 * S;
        probe_timeout Time 20 * MS, 15 * S;
        indirect_probes Count 0, 16;
        suspicion_mult Factor 500, 20_000;
        suspicion_max_mult Factor 1000, 20_000;
        suspicion_confirmations Count 0, 16;
        awareness_max Count 1, 32;
        gossip_interval Time 10 * MS, 5 * S;
        gossip_fanout Count 1, 16;
        gossip_packets_max Count 1, 256;
        retransmit_mult Count 1, 16;
        retransmit_min Count 1, 64;
    }
};

/// Why a configuration contradicts itself; none where it does not.
pub(super) fn contradiction(core: &CoreConfig) -> Option<&'static str> {
    let (swarm, injection, membership) = (&core.swarm, &core.injection, &core.membership);
    [
        (swarm.upload_slots_young > swarm.upload_slots, "upload_slots_young is above upload_slots"),
        (swarm.neighbours > swarm.neighbours_max, "neighbours is above neighbours_max"),
        (swarm.requests_far_max > swarm.requests_max, "requests_far_max is above requests_max"),
        (swarm.busy_retry_min > swarm.busy_retry_max, "busy_retry_min is above busy_retry_max"),
        (swarm.rest_min > swarm.rest_max, "rest_min is above rest_max"),
        (injection.leases_start > injection.leases_max, "leases_start is above leases_max"),
        (injection.run_bytes_start > injection.run_bytes_max, "run_bytes_start is above run_bytes_max"),
        (injection.backoff_min > injection.backoff_max, "backoff_min is above backoff_max"),
        (membership.probe_timeout * 2 > membership.probe_interval, "probe_interval is below twice probe_timeout"),
        (membership.gossip_fanout > membership.gossip_packets_max, "gossip_fanout is above gossip_packets_max"),
    ]
    .into_iter()
    .find_map(|(is_so, why)| is_so.then_some(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_stands_for_one_parameter_that_can_be_changed() {
        let defaults = CoreConfig::default();
        assert_eq!(contradiction(&defaults), None);
        for parameter in Parameter::all() {
            assert_eq!(Parameter::named(parameter.name), Some(parameter));
            assert!(parameter.least < parameter.most, "{parameter:?}");
            let default = parameter.get(&defaults);
            assert!((parameter.least..=parameter.most).contains(&default), "{parameter:?}: {default}");
            for value in [parameter.least, parameter.most] {
                let mut core = CoreConfig::default();
                parameter.set(&mut core, value);
                assert_eq!(parameter.get(&core), value, "{parameter:?}");
                let changed = Parameter::all().iter().filter(|other| other.get(&core) != other.get(&defaults)).count();
                assert_eq!(changed, usize::from(value != default), "{parameter:?} is no other one");
            }
            let mut core = CoreConfig::default();
            parameter.set(&mut core, u64::MAX);
            assert_eq!(parameter.get(&core), parameter.most);
        }
        let mut names: Vec<&str> = Parameter::all().iter().map(|parameter| parameter.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Parameter::all().len());
        assert_eq!(Parameter::named("no_such"), None);
    }

    #[test]
    fn what_contradicts_itself_is_found() {
        let with = |name: &str, value| {
            let mut core = CoreConfig::default();
            Parameter::named(name).unwrap().set(&mut core, value);
            contradiction(&core)
        };
        assert_eq!(with("leases_start", 17), Some("leases_start is above leases_max"));
        assert_eq!(with("upload_slots", 1), Some("upload_slots_young is above upload_slots"));
        assert_eq!(with("upload_slots", 2), None);
    }
}
