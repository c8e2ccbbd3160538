//! What a process has used of the machine (proc(5)).

use anyhow::Context;

/// Processor time and memory of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// User and system time, of children that have ended too, in seconds.
    pub(crate) cpu_s: f64,
    /// Most resident memory, in bytes.
    pub(crate) rss_max_bytes: u64,
}

impl Usage {
    /// Of a process that runs.
    pub(crate) fn of(id: u32) -> anyhow::Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{id}/{file}");
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        let ticks = cpu_ticks(&read("stat")?).with_context(|| format!("/proc/{id}/stat has no times"))?;
        let rss_max_bytes = peak_bytes(&read("status")?).with_context(|| format!("/proc/{id}/status has no VmHWM"))?;
        Ok(Self { cpu_s: ticks as f64 / rustix::param::clock_ticks_per_second() as f64, rss_max_bytes })
    }
}

/// User and system time of the process and of its children in clock ticks: fields 14 to 17. The name in field 2 may contain
/// anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let times: Vec<u64> =
        fields.split_ascii_whitespace().skip(11).take(4).map(str::parse).collect::<Result<_, _>>().ok()?;
    (times.len() == 4).then(|| times.iter().sum())
}

fn peak_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_a_hostile_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 7 3 20 0 5 0 1000";
        assert_eq!(cpu_ticks(stat), Some(310));
        assert_eq!(cpu_ticks("42 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_used_memory_and_one_that_is_not_there_has_not() {
        assert!(Usage::of(std::process::id()).unwrap().rss_max_bytes > 100_000);
        assert!(Usage::of(u32::MAX).unwrap_err().to_string().contains("/proc/4294967295/stat"));
    }
}
