//! The agents: one in each node's namespace.

use std::{
    io::Write,
    net::SocketAddr,
    path::Path,
    process::{ChildStdin, ChildStdout},
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    sync::mpsc,
};

use crate::{
    agent::protocol::{LINE_BYTES_MAX, Order, Page, Report},
    network::{Host, Network},
    process::{Process, launcher},
};

/// Reports that wait to be read; agents wait beyond that.
const REPORTS_MAX: usize = 1024;

/// All agents. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Crew {
    agents: Vec<Agent>,
    said: mpsc::Receiver<Said>,
}

#[derive(Debug)]
struct Agent {
    process: Process,
    orders: ChildStdin,
}

/// What an agent said.
#[derive(Debug)]
pub(crate) struct Said {
    /// Number of its node.
    pub(crate) node: u32,
    /// What it said; `None` when it has ended.
    pub(crate) report: Option<Report>,
}

impl Crew {
    /// Starts an agent at each of so many nodes.
    pub(crate) fn start(network: &Network, directory: &Path, nodes: u32) -> anyhow::Result<Self> {
        let (sender, said) = mpsc::channel(REPORTS_MAX);
        let mut agents = Vec::with_capacity(nodes as usize);
        for node in 0..nodes {
            let mut command = network.command(Host::Node(node), launcher().as_os_str());
            command.arg(crate::agent::NAME);
            let log = directory.join(format!("agent-{node}.log"));
            let mut process = Process::start_piped(&format!("the agent of node {node}"), command, &log)?;
            let orders = process.take_stdin().context("an agent was started with pipes")?;
            let output = process.take_stdout().context("an agent was started with pipes")?;
            tokio::spawn(listen(node, output, sender.clone()));
            agents.push(Agent { process, orders });
        }
        Ok(Self { agents, said })
    }

    /// Tells the agent of a node to do something.
    pub(crate) fn order(&mut self, node: u32, order: &Order) -> anyhow::Result<()> {
        let mut line = serde_json::to_string(order).context("an order is not JSON")?;
        line.push('\n');
        let agent = &mut self.agents[node as usize];
        let sent = agent.orders.write_all(line.as_bytes());
        sent.with_context(|| format!("{} takes no orders{}", agent.process.name(), agent.process.log_tail()))
    }

    /// Waits for the next report. Cancel safe.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Said> {
        self.said.recv().await.context("all agents have ended")
    }

    /// Kills the agent of a node, and with it its pull.
    pub(crate) fn kill(&mut self, node: u32) -> anyhow::Result<()> {
        self.agents[node as usize].process.kill()?;
        Ok(())
    }

    /// The last lines of an agent's log, as the end of an error message.
    pub(crate) fn log_tail(&self, node: u32) -> String {
        self.agents[node as usize].process.log_tail()
    }

    /// Reads the pages of some nodes, while nothing is pulled. In the order asked; `Err` says why a page is missing.
    pub(crate) async fn look(&mut self, nodes: &[(u32, SocketAddr)]) -> anyhow::Result<Vec<Result<Page, String>>> {
        for (node, address) in nodes {
            self.order(*node, &Order::Look { address: *address })?;
        }
        let mut pages: Vec<Option<Result<Page, String>>> = vec![None; nodes.len()];
        while pages.iter().any(Option::is_none) {
            let said = self.next().await?;
            let page = match said.report {
                Some(Report::Page(page)) => Ok(page),
                Some(Report::NoPage { error }) => Err(error),
                // A pull that was cut off reports its end late.
                Some(Report::Progress { .. } | Report::Pulled(_)) => continue,
                None => Err(format!("its agent has ended{}", self.log_tail(said.node))),
            };
            let asked = nodes.iter().position(|(node, _)| *node == said.node);
            if let Some(place) = asked.and_then(|index| pages.get_mut(index)) {
                *place = Some(page);
            }
        }
        Ok(pages.into_iter().flatten().collect())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        // Each is waited for when it is dropped; asked together, they end together.
        for agent in &self.agents {
            agent.process.terminate();
        }
    }
}

/// Passes on what an agent says, until it ends or says something that is no report.
async fn listen(node: u32, output: ChildStdout, said: mpsc::Sender<Said>) {
    // Both errors end the run where they matter: nobody reads any more, or the agent is gone.
    let _ = pass_on(node, output, &said).await;
    let _ = said.send(Said { node, report: None }).await;
}

async fn pass_on(node: u32, output: ChildStdout, said: &mpsc::Sender<Said>) -> anyhow::Result<()> {
    let mut output = BufReader::new(tokio::process::ChildStdout::from_std(output)?);
    loop {
        let mut line = String::new();
        (&mut output).take(LINE_BYTES_MAX).read_line(&mut line).await?;
        if !line.ends_with('\n') {
            bail!("the end");
        }
        said.send(Said { node, report: Some(serde_json::from_str(&line)?) }).await?;
    }
}
