//! The plots of a report: which runs and systems are in each. How they are drawn is `shoal_sim::plot`'s.

mod completion;
mod scaling;
mod throughput;

use shoal_sim::plot::{Colour, PALETTE, Plot, PlotError};

use super::{Experiment, Report, SHOAL, SINGLE};

/// Systems that keep their colour, whatever else is in the plot.
const KNOWN: [&str; 5] = [SHOAL, SINGLE, "pull-through", "shoal-no-peers", "single-parallel"];

/// The colour of a system among all of a report. Beyond the palette colours repeat; names stand beside the lines.
fn colour_of(system: &str, systems: &[String]) -> Colour {
    let known = KNOWN.iter().position(|known| *known == system);
    let other = || {
        let others = systems.iter().filter(|name| !KNOWN.contains(&name.as_str()));
        KNOWN.len() + others.into_iter().position(|name| name == system).unwrap_or(0)
    };
    PALETTE[known.unwrap_or_else(other) % PALETTE.len()]
}

impl Report {
    /// All plots.
    ///
    /// # Errors
    /// A plot cannot be drawn.
    pub fn plots(&self) -> Result<Vec<Plot>, PlotError> {
        let mut plots = self.plots_over_nodes()?;
        for experiment in &self.experiments {
            plots.extend(self.plots_of(experiment)?);
        }
        Ok(plots)
    }

    /// The plots of one scenario: completion, and throughput where there are samples.
    pub(super) fn plots_of(&self, experiment: &Experiment) -> Result<Vec<Plot>, PlotError> {
        let systems = self.systems();
        let plots = [completion::plot(experiment, &systems)?, throughput::plot(experiment, &systems)?];
        Ok(plots.into_iter().flatten().collect())
    }

    /// The plots over the number of nodes, for each scenario that was run with several.
    pub(super) fn plots_over_nodes(&self) -> Result<Vec<Plot>, PlotError> {
        let systems = self.systems();
        let mut plots = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        for experiment in &self.experiments {
            let name = experiment.scenario.name.as_str();
            if names.contains(&name) {
                continue;
            }
            names.push(name);
            let of_name = self.experiments.iter().filter(|other| other.scenario.name == name);
            plots.extend(scaling::plots(name, &of_name.collect::<Vec<_>>(), &systems)?);
        }
        Ok(plots)
    }

    /// Names of all systems.
    fn systems(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for system in self.experiments.iter().flat_map(|experiment| super::summary::systems(&experiment.runs)) {
            if !names.iter().any(|name| name == system) {
                names.push(system.to_owned());
            }
        }
        names
    }
}

/// Name of the files of a scenario: unique within a report that runs no scenario twice with equal numbers of nodes.
fn file_stem(experiment: &Experiment) -> String {
    format!("{}-{}", experiment.scenario.name, experiment.scenario.nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_keep_their_colours_and_others_get_what_is_left() {
        let systems = ["other", "shoal", "single", "third"].map(str::to_owned);
        assert_eq!(colour_of("shoal", &systems), colour_of("shoal", &[]));
        let all: Vec<Colour> = systems.iter().map(|system| colour_of(system, &systems)).collect();
        for (position, colour) in all.iter().enumerate() {
            assert!(!all[..position].contains(colour), "{systems:?}: {all:?}");
        }
    }
}
