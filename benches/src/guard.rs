//! Watches the machine during a run: a run in which the processors, not the links, set the pace does not count.

use std::{
    fs, io,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{network::Shaper, result::MachineResult};

/// Time between two readings.
const INTERVAL: Duration = Duration::from_secs(1);
/// Share of the processors above which a second counts as too busy.
const BUSY: f64 = 0.8;
/// Share of the time that may be too busy.
const BUSY_SHARE: f64 = 0.05;
/// Share of processor time that a hypervisor may take.
const STEAL: f64 = 0.02;

/// A watch that goes on until [`Guard::finish`] or its end.
#[derive(Debug)]
pub struct Guard {
    stop: Sender<()>,
    watcher: JoinHandle<io::Result<Vec<Jiffies>>>,
}

impl Guard {
    /// Begins to watch.
    pub fn start() -> io::Result<Self> {
        let mut readings = vec![read()?];
        let (stop, stopped) = channel();
        let watcher = thread::Builder::new().name("machine guard".into()).spawn(move || {
            // One reading a second: a run of an hour takes 86 KB.
            while matches!(stopped.recv_timeout(INTERVAL), Err(RecvTimeoutError::Timeout)) {
                readings.push(read()?);
            }
            readings.push(read()?);
            Ok(readings)
        })?;
        Ok(Self { stop, watcher })
    }

    /// Ends the watch and says what the machine did meanwhile.
    pub fn finish(self) -> io::Result<MachineResult> {
        drop(self.stop);
        let readings = self.watcher.join().map_err(|_| io::Error::other("the watch on the machine panicked"))??;
        Ok(summary(&readings))
    }
}

/// Why a run with such a machine and these shapers does not count; none where it does.
pub fn invalid(machine: &MachineResult, shaper: Shaper) -> Option<String> {
    if machine.steal > STEAL {
        return Some(format!(
            "the hypervisor took {:.1} % of the processors' time (at most {:.0} %): measure when its host is quieter",
            machine.steal * 100.0,
            STEAL * 100.0
        ));
    }
    (machine.busy_share > BUSY_SHARE).then(|| {
        let lighter = match shaper {
            Shaper::Tbf => ", or let --shaper htb set fewer timers",
            Shaper::Htb => "",
        };
        format!(
            "more than {:.0} % of the processors was busy in {:.0} % of the time (at most {:.0} %): \
             use lower rates or fewer nodes, or stop what else runs here{lighter}",
            BUSY * 100.0,
            machine.busy_share * 100.0,
            BUSY_SHARE * 100.0
        )
    })
}

/// Processor time since the machine started, all processors together, in the kernel's ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Jiffies {
    busy: u64,
    idle: u64,
    steal: u64,
}

impl Jiffies {
    fn since(self, before: Self) -> Self {
        // Waiting for the disk may run backwards by a tick, see proc_stat(5).
        Self {
            busy: self.busy.saturating_sub(before.busy),
            idle: self.idle.saturating_sub(before.idle),
            steal: self.steal.saturating_sub(before.steal),
        }
    }

    fn total(self) -> u64 {
        self.busy + self.idle + self.steal
    }

    /// Stolen time is no work of this machine, but it is not there for work either.
    fn busy_share(self) -> f64 {
        share(self.busy + self.steal, self.total())
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn read() -> io::Result<Jiffies> {
    let text = fs::read_to_string("/proc/stat")?;
    parse(&text).ok_or_else(|| io::Error::other("/proc/stat does not begin with the processors' times"))
}

/// The first line: user nice system idle iowait irq softirq steal; guests are within user and nice.
fn parse(text: &str) -> Option<Jiffies> {
    let numbers = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = numbers.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks[..] else { return None };
    Some(Jiffies { busy: user + nice + system + irq + softirq, idle: idle + iowait, steal })
}

fn summary(readings: &[Jiffies]) -> MachineResult {
    let (Some(first), Some(last)) = (readings.first(), readings.last()) else { return MachineResult::default() };
    let all = last.since(*first);
    let spans: Vec<Jiffies> = readings.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    // By time and not by number: the last span is shorter than the others.
    let too_busy = spans.iter().filter(|span| span.busy_share() > BUSY).map(|span| span.total()).sum();
    MachineResult {
        busy: all.busy_share(),
        busy_share: share(too_busy, all.total()),
        steal: share(all.steal, all.total()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(spans: &[(u64, u64, u64)]) -> Vec<Jiffies> {
        let mut readings = vec![Jiffies { busy: 1_000, idle: 9_000, steal: 10 }];
        for (busy, idle, steal) in spans {
            let last = readings[readings.len() - 1];
            readings.push(Jiffies { busy: last.busy + busy, idle: last.idle + idle, steal: last.steal + steal });
        }
        readings
    }

    #[test]
    fn the_first_line_of_the_kernels_statistics_is_understood() {
        let text = "cpu  10 1 20 300 40 5 6 7 3 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(parse(text), Some(Jiffies { busy: 42, idle: 340, steal: 7 }));
        assert_eq!(parse("cpu  10 1 20\n"), None);
        assert_eq!(parse("intr 1\n"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn this_machine_says_how_busy_it_was() {
        let guard = Guard::start().unwrap();
        let machine = guard.finish().unwrap();
        assert!((0.0..=1.0).contains(&machine.busy), "{machine:?}");
    }

    #[test]
    fn a_quiet_machine_counts() {
        let machine = summary(&readings(&[(100, 100, 0); 60]));
        assert_eq!(machine, MachineResult { busy: 0.5, busy_share: 0.0, steal: 0.0 });
        assert_eq!(invalid(&machine, Shaper::Tbf), None);
    }

    #[test]
    fn a_busy_second_in_forty_is_borne_and_one_in_ten_is_not() {
        let mut spans = vec![(100, 100, 0); 39];
        spans.push((190, 10, 0));
        assert_eq!(invalid(&summary(&readings(&spans)), Shaper::Tbf), None);
        spans.truncate(8);
        spans.push((190, 10, 0));
        let machine = summary(&readings(&spans));
        assert!((machine.busy_share - 1.0 / 9.0).abs() < 1e-9, "{machine:?}");
        let said = invalid(&machine, Shaper::Tbf).unwrap();
        assert!(said.contains("80 %") && said.ends_with("--shaper htb set fewer timers"), "{said}");
        assert!(!invalid(&machine, Shaper::Htb).unwrap().contains("--shaper"));
    }

    #[test]
    fn a_short_last_span_counts_as_long_as_it_was() {
        let mut spans = vec![(100, 100, 0); 30];
        spans.push((2, 0, 0));
        let machine = summary(&readings(&spans));
        assert!(machine.busy_share < 0.001, "{machine:?}");
    }

    #[test]
    fn stolen_time_makes_a_run_invalid_and_counts_as_busy() {
        let machine = summary(&readings(&[(100, 94, 6); 10]));
        assert!((machine.steal - 0.03).abs() < 1e-9 && (machine.busy - 0.53).abs() < 1e-9, "{machine:?}");
        assert!(invalid(&machine, Shaper::Tbf).unwrap().contains("hypervisor"));
        assert_eq!(invalid(&summary(&readings(&[(100, 97, 3); 10])), Shaper::Tbf), None);
    }

    #[test]
    fn no_readings_are_no_statement() {
        assert_eq!(summary(&[]), MachineResult::default());
        assert_eq!(summary(&readings(&[])), MachineResult::default());
    }
}
