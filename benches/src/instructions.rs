//! `shoal-instructions`: how many instructions the engine's work takes, compared with what is recorded.
//!
//! Instructions do not depend on how busy a machine is, so that a comparison holds anywhere. They are counted by
//! valgrind's callgrind, which runs this program again for each case and counts below `shoal_lab::micro::measured` alone.

use std::{
    collections::BTreeMap,
    env, fs,
    hint::black_box,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use serde::{Deserialize, Serialize};
use shoal_lab::micro::{self, CASES, Case};

/// The most by which a count may exceed the recorded one.
const TOLERANCE: f64 = 0.10;
/// Functions below which instructions are counted.
const COUNTED: &str = "*shoal_lab*micro*measured*";

/// Count the instructions of the engine's work, and compare them with the recorded ones.
///
/// Exit code 0: no case takes over 10 % more than recorded. 1: one does. 2: the counting itself failed.
#[derive(Debug, Parser)]
#[command(name = "shoal-instructions", version)]
struct Arguments {
    /// File with the recorded counts.
    #[arg(long, value_name = "FILE", default_value = "benches/instructions.json")]
    file: PathBuf,
    /// Record what is counted instead of comparing.
    #[arg(long)]
    record: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Run one case and end: what the counting does.
    #[arg(long, hide = true, value_name = "CASE")]
    run: Option<String>,
}

/// What the file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    /// The compiler that made the counted program: another one makes other instructions.
    rustc: String,
    /// Instructions of one iteration of each case.
    instructions: BTreeMap<String, u64>,
}

/// One case, counted.
#[derive(Debug, Serialize)]
struct Compared {
    name: &'static str,
    about: &'static str,
    instructions: u64,
    recorded: Option<u64>,
    /// Counted over recorded.
    ratio: Option<f64>,
    ok: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("shoal-instructions: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    if let Some(name) = &arguments.run {
        let case = micro::find(name).with_context(|| format!("there is no case {name:?}"))?;
        black_box(micro::measured(&mut (case.prepare)(), case.iterations));
        return Ok(true);
    }
    let recorded = if arguments.record { None } else { Some(read(&arguments.file)?) };
    let counts = CASES.iter().map(|case| Ok((case, count(case)?))).collect::<Result<Vec<_>>>()?;
    if arguments.record {
        write(&arguments.file, &counts)?;
    }
    let compared: Vec<_> = counts.into_iter().map(|(case, count)| compare(case, count, recorded.as_ref())).collect();
    print(&compared, arguments.json)?;
    explain(&compared, recorded.as_ref(), &arguments.file)?;
    Ok(compared.iter().all(|case| case.ok))
}

/// Instructions of one iteration of `case`.
fn count(case: &Case) -> Result<u64> {
    let program = env::current_exe().context("cannot find this program")?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(program)
        .args(["--run", case.name])
        .output()
        .context("valgrind does not start; on Debian it is in the package valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind failed at {}: {}", case.name, said.trim());
    let total =
        collected(&said).with_context(|| format!("valgrind gave no count for {}: {}", case.name, said.trim()))?;
    ensure!(total > 0, "nothing was counted for {}; is the program built without symbols?", case.name);
    Ok(total / u64::from(case.iterations))
}

/// The number in callgrind's line `==1== Collected : 1234`.
fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}

fn compare(case: &Case, instructions: u64, recorded: Option<&Recorded>) -> Compared {
    let before = recorded.and_then(|recorded| recorded.instructions.get(case.name).copied());
    let ratio = before.map(|before| instructions as f64 / before.max(1) as f64);
    let ok = recorded.is_none() || ratio.is_some_and(|ratio| ratio <= 1.0 + TOLERANCE);
    Compared { name: case.name, about: case.about, instructions, recorded: before, ratio, ok }
}

fn read(file: &Path) -> Result<Recorded> {
    let text = fs::read_to_string(file).with_context(|| {
        format!("cannot read {}; run from the root of the repository, or name it by --file", file.display())
    })?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a record of counts", file.display()))
}

fn write(file: &Path, counts: &[(&Case, u64)]) -> Result<()> {
    let instructions = counts.iter().map(|(case, count)| (case.name.to_owned(), *count)).collect();
    let text = serde_json::to_string_pretty(&Recorded { rustc: compiler()?, instructions })?;
    fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}

fn compiler() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().context("rustc does not start")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn print(compared: &[Compared], json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "cases": compared }))?);
        return Ok(());
    }
    println!("{:<30} {:>14} {:>14} {:>7}", "case", "instructions", "recorded", "ratio");
    for case in compared {
        let recorded = case.recorded.map_or_else(|| "-".to_owned(), |count| count.to_string());
        let ratio = case.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
        println!("{:<30} {:>14} {recorded:>14} {ratio:>7}", case.name, case.instructions);
    }
    Ok(())
}

/// Says to standard error which cases are too expensive now, and what may be the cause.
fn explain(compared: &[Compared], recorded: Option<&Recorded>, file: &Path) -> Result<()> {
    let Some(recorded) = recorded else { return Ok(()) };
    for case in compared.iter().filter(|case| !case.ok) {
        match case.ratio {
            Some(ratio) => eprintln!("{}: {:.0} % more instructions than recorded", case.name, (ratio - 1.0) * 100.0),
            None => eprintln!("{}: {} has no record of it", case.name, file.display()),
        }
    }
    if let Some(name) = recorded.instructions.keys().find(|name| micro::find(name).is_none()) {
        bail!("{} records {name:?}, which is no case any more; record again with --record", file.display());
    }
    if compared.iter().any(|case| !case.ok) {
        let now = compiler()?;
        if now != recorded.rustc {
            eprintln!("the record was made with {}, this is {now}", recorded.rustc);
        }
        eprintln!("if the cost is wanted, record it: shoal-instructions --record");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(count: u64, before: Option<u64>) -> Compared {
        let instructions = before.map(|before| (CASES[0].name.to_owned(), before)).into_iter().collect();
        compare(&CASES[0], count, Some(&Recorded { rustc: String::new(), instructions }))
    }

    #[test]
    fn a_tenth_more_is_allowed_and_anything_above_is_not() {
        assert!(compared(1100, Some(1000)).ok);
        assert!(!compared(1101, Some(1000)).ok);
        assert!(compared(10, Some(1000)).ok);
        assert!(!compared(10, None).ok, "a case that nobody recorded cannot pass");
    }

    #[test]
    fn the_count_is_found_in_what_callgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 51234\n==7==\n";
        assert_eq!(collected(said), Some(51_234));
        assert_eq!(collected("==7== nothing"), None);
    }
}
