//! One child: its log, its end, and the end of all it started.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

/// How long a child may take to end after SIGTERM when its owner lets go of it; then it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// Lines of a log that an error shows, and the bytes that are read for them.
const TAIL_LINES: usize = 15;
const TAIL_BYTES: u64 = 16 * 1024;

/// What can go wrong with a child.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// Its log cannot be made.
    #[error("cannot create {path}, the log of {name}: {source}")]
    Log {
        /// Name of the child.
        name: String,
        /// The log.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It does not start.
    #[error("cannot start {name}: {source}. Is it installed, and in the search path?")]
    Start {
        /// Name of the child.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The system does not say how it is.
    #[error("cannot wait for the end of {name}: {source}")]
    Wait {
        /// Name of the child.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A running child, the leader of a process group of its own, so that the terminal's Ctrl-C does not reach it before the
/// laboratory ends it in order. Dropped, it and its group are ended: SIGTERM, SIGKILL after 5 s.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Set once it is reaped.
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with nothing to read and both outputs in the file `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self, ProcessError> {
        let (stdout, stderr) = create_log(name, log)?;
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        Self::spawn(name, command, log)
    }

    /// Starts `command` with pipes to its standard input and from its standard output, and errors in the file `log`.
    pub fn start_piped(name: &str, mut command: Command, log: &Path) -> Result<Self, ProcessError> {
        let (_, stderr) = create_log(name, log)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        Self::spawn(name, command, log)
    }

    fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self, ProcessError> {
        command.process_group(0);
        let child = super::spawn(command).map_err(|source| ProcessError::Start { name: name.to_owned(), source })?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned(), ended: None })
    }

    /// Its name, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Process id, also that of the program it became.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The pipe to it, once, where it was started with pipes.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The pipe from it, once, where it was started with pipes.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// How it ended, if it has; what is left of its group is killed then.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        self.wait(Duration::ZERO)
    }

    /// Asks it and its group to end, with SIGTERM. Says nothing where it has ended already.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Kills it and its group, and reaps it.
    pub fn kill(&mut self) -> Result<ExitStatus, ProcessError> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        self.signal(Signal::KILL);
        let status = self.child.wait().map_err(|source| self.wait_error(source))?;
        self.ended = Some(status);
        Ok(status)
    }

    /// Waits until it ends, at most so long; what is left of its group is killed then. None where it has not ended.
    pub fn wait(&mut self, at_most: Duration) -> Result<Option<ExitStatus>, ProcessError> {
        if self.ended.is_none() && !self.ends_within(at_most).map_err(|source| self.wait_error(source))? {
            return Ok(None);
        }
        self.kill().map(Some)
    }

    /// Asks it to end, waits so long, and kills it where that was not enough.
    pub fn stop(&mut self, grace: Duration) -> Result<ExitStatus, ProcessError> {
        self.terminate();
        match self.wait(grace)? {
            Some(status) => Ok(status),
            None => self.kill(),
        }
    }

    /// The last lines of its log, as the end of an error message.
    pub fn log_tail(&self) -> String {
        match tail(&self.log) {
            Ok(lines) if !lines.is_empty() => format!(". The end of {}:\n{lines}", self.log.display()),
            Ok(_) => format!(" ({} is empty)", self.log.display()),
            Err(error) => format!(" (cannot read {}: {error})", self.log.display()),
        }
    }

    /// The id stays this child's as long as it is not reaped, so the signal cannot reach a stranger.
    fn signal(&self, signal: Signal) {
        if self.ended.is_none()
            && let Some(id) = self.group()
        {
            // It fails only where nobody is left in the group, which is what is wanted.
            kill_process_group(id, signal).ok();
        }
    }

    fn group(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    fn ends_within(&self, at_most: Duration) -> io::Result<bool> {
        ended_within(self.group().ok_or(io::ErrorKind::NotFound)?, at_most)
    }

    fn wait_error(&self, source: io::Error) -> ProcessError {
        ProcessError::Wait { name: self.name.clone(), source }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody is left to hear of an error, and a killed group is the most that can be done.
        self.stop(GRACE).ok();
    }
}

/// Waits at most so long for the end of a process that is not reaped meanwhile. True where it has ended.
pub(crate) fn ended_within(id: Pid, at_most: Duration) -> io::Result<bool> {
    let process = match pidfd_open(id, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(true),
        other => other?,
    };
    let start = Instant::now();
    loop {
        let left = Timespec::try_from(at_most.saturating_sub(start.elapsed())).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn create_log(name: &str, log: &Path) -> Result<(File, File), ProcessError> {
    let create = || {
        let file = File::options().create(true).append(true).open(log)?;
        Ok((file.try_clone()?, file))
    };
    create().map_err(|source| ProcessError::Log { name: name.to_owned(), path: log.to_owned(), source })
}

fn tail(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn is_alive(id: &str) -> bool {
        Path::new(&format!("/proc/{id}")).exists()
    }

    #[test]
    fn output_goes_to_the_log_and_its_end_into_messages() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut process = Process::start("talker", shell("echo out; echo err >&2; exit 3"), &log).unwrap();
        assert_eq!(process.wait(Duration::from_secs(60)).unwrap().unwrap().code(), Some(3));
        assert_eq!(fs::read_to_string(&log).unwrap(), "out\nerr\n");
        assert!(process.log_tail().ends_with("log:\nout\nerr"), "{}", process.log_tail());
        assert_eq!(process.exited().unwrap().unwrap().code(), Some(3));
        assert_eq!(process.stop(GRACE).unwrap().code(), Some(3));
    }

    #[test]
    fn a_process_that_runs_has_not_ended() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = Process::start("sleeper", shell("exec sleep 600"), &directory.path().join("log")).unwrap();
        assert_eq!(process.exited().unwrap(), None);
        assert_eq!(process.wait(Duration::from_millis(1)).unwrap(), None);
        assert!(process.log_tail().ends_with("log is empty)"), "{}", process.log_tail());
        assert!(!process.stop(Duration::from_secs(60)).unwrap().success());
    }

    #[test]
    fn the_whole_group_goes_with_its_leader() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let script = "trap '' TERM; sleep 600 & echo $!; while :; do wait; done";
        let mut process = Process::start_piped("deaf", shell(script), &log).unwrap();
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(process.take_stdout().unwrap()), &mut line).unwrap();
        let (leader, member) = (process.id().to_string(), line.trim());
        assert!(is_alive(&leader) && is_alive(member));
        // It ignores SIGTERM, so only the kill ends it.
        assert!(!process.stop(Duration::from_millis(10)).unwrap().success());
        let member_id = Pid::from_raw(member.parse().unwrap()).unwrap();
        assert!(ended_within(member_id, Duration::from_secs(60)).unwrap());
        assert!(!is_alive(&leader));
    }

    #[test]
    fn a_leader_that_ends_by_itself_leaves_nobody_either() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut process = Process::start("parent", shell("sleep 600 & echo $!"), &log).unwrap();
        assert!(process.wait(Duration::from_secs(60)).unwrap().unwrap().success());
        let member = fs::read_to_string(&log).unwrap();
        let member = Pid::from_raw(member.trim().parse().unwrap()).unwrap();
        assert!(ended_within(member, Duration::from_secs(60)).unwrap());
    }

    #[test]
    fn what_cannot_be_started_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let error = Process::start("ghost", Command::new("/no/such/program"), &log).unwrap_err().to_string();
        assert!(error.contains("cannot start ghost"), "{error}");
        let error = Process::start("mute", shell("true"), &directory.path().join("no/log")).unwrap_err().to_string();
        assert!(error.contains("the log of mute"), "{error}");
    }

    #[test]
    fn the_tail_of_a_log_is_its_last_lines_however_long_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let lines: Vec<String> = (0..10_000).map(|line| format!("line {line}")).collect();
        fs::write(&log, lines.join("\n")).unwrap();
        assert_eq!(tail(&log).unwrap(), lines[10_000 - TAIL_LINES..].join("\n"));
    }
}
