//! The asker's side of name resolution: which home to ask, when to ask the next one, when to ask the upstream oneself.

use std::collections::BTreeMap;

use shoal_wire::{
    control::{ControlMessage, NameAnswer, NameOutcome, UpstreamFailure},
    ids::{MemberId, QueryId},
    name::{Descriptor, Name, Reference},
};

use super::rendezvous::Homes;
use crate::{
    config::DirectoryConfig,
    event::{LookupId, Output},
    outbox::Outbox,
    time::Time,
};

/// Open questions of local readers. Equal names share one question.
#[derive(Debug)]
pub(crate) struct Questions {
    config: DirectoryConfig,
    open: BTreeMap<QueryId, Question>,
    by_name: BTreeMap<Name, QueryId>,
    by_lookup: BTreeMap<LookupId, QueryId>,
    last: u64,
}

#[derive(Debug)]
struct Question {
    name: Name,
    readers: Vec<QueryId>,
    homes: Homes,
    rank: usize,
    tries: u32,
    state: State,
    deadline: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The home of the current rank was asked.
    Asked,
    /// The home said that an answer follows.
    Pending,
    /// This node's upstream was asked.
    Upstream,
    /// The upstream failed; a home may still know an older answer. So many homes have not said yet.
    LastResort(UpstreamFailure, usize),
}

impl Questions {
    pub(crate) fn new(config: DirectoryConfig) -> Self {
        Self { config, open: BTreeMap::new(), by_name: BTreeMap::new(), by_lookup: BTreeMap::new(), last: 0 }
    }

    /// Questions that are open.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// A local reader asks. `reader` names its question; `homes` are those of the name.
    pub(crate) fn ask(&mut self, now: Time, outbox: &mut Outbox, reader: QueryId, name: Name, homes: Homes) {
        if let Some(question) = self.by_name.get(&name).and_then(|id| self.open.get_mut(id)) {
            question.readers.push(reader);
            return;
        }
        if self.open.len() >= self.config.questions_max {
            let outcome = NameOutcome::Failed(UpstreamFailure::Unavailable);
            return outbox.push(Output::Answer { query: reader, outcome });
        }
        self.last += 1;
        let id = QueryId(self.last);
        self.by_name.insert(name.clone(), id);
        let question =
            Question { name, readers: vec![reader], homes, rank: 0, tries: 0, state: State::Asked, deadline: now };
        self.open.insert(id, question);
        self.ask_home(now, outbox, id);
    }

    /// A home answered.
    pub(crate) fn handle_answer(
        &mut self,
        now: Time,
        outbox: &mut Outbox,
        from: MemberId,
        id: QueryId,
        answer: NameAnswer,
    ) {
        let Some(question) = self.open.get_mut(&id) else { return };
        if question.homes.rank_of(from).is_none() {
            return;
        }
        match answer {
            NameAnswer::Outcome(NameOutcome::Failed(_)) if question.awaits_another_home() => {}
            // Content has the digest by which it was asked for, whatever a home says.
            NameAnswer::Outcome(NameOutcome::Found(found)) if !names(&question.name, &found) => {}
            NameAnswer::Outcome(outcome) => self.finish(outbox, id, &outcome),
            NameAnswer::Pending if question.state == State::Asked => {
                question.state = State::Pending;
                question.deadline = now + self.config.pending_timeout;
            }
            NameAnswer::AskUpstream if matches!(question.state, State::Asked | State::Pending) => {
                self.ask_upstream(outbox, id);
            }
            NameAnswer::Pending | NameAnswer::AskUpstream => {}
        }
    }

    /// This node's upstream answered.
    pub(crate) fn handle_upstream(&mut self, now: Time, outbox: &mut Outbox, lookup: LookupId, outcome: NameOutcome) {
        let Some(id) = self.by_lookup.remove(&lookup) else { return };
        let Some(question) = self.open.get_mut(&id) else { return };
        let outcome = match outcome {
            NameOutcome::Found(found) if !names(&question.name, &found) => {
                NameOutcome::Failed(UpstreamFailure::WrongContent)
            }
            outcome => outcome,
        };
        for home in question.homes.iter() {
            outbox.send(
                home,
                ControlMessage::Publish { name: Box::new(question.name.clone()), outcome: Box::new(outcome.clone()) },
            );
        }
        match outcome {
            NameOutcome::Failed(
                failure @ (UpstreamFailure::Unavailable
                | UpstreamFailure::RateLimited { .. }
                | UpstreamFailure::WrongContent),
            ) => {
                question.state = State::LastResort(failure, question.homes.len());
                question.deadline = now + self.config.home_timeout;
                for home in question.homes.iter() {
                    outbox.send(home, ControlMessage::Resolve { query: id, name: Box::new(question.name.clone()) });
                }
            }
            outcome => self.finish(outbox, id, &outcome),
        }
    }

    /// A member was not reached, or died.
    pub(crate) fn handle_lost(&mut self, now: Time, outbox: &mut Outbox, member: MemberId) {
        let lost: Vec<_> = self
            .open
            .iter()
            .filter(|(_, question)| {
                matches!(question.state, State::Asked | State::Pending) && question.home() == Some(member)
            })
            .map(|(&id, _)| id)
            .collect();
        for id in lost {
            self.ask_next_home(now, outbox, id);
        }
    }

    /// Acts on the questions whose deadline has come.
    pub(crate) fn handle_timeout(&mut self, now: Time, outbox: &mut Outbox) {
        let due: Vec<_> = self
            .open
            .iter()
            .filter(|(_, question)| question.is_due(now))
            .map(|(&id, question)| (id, question.state))
            .collect();
        for (id, state) in due {
            match state {
                State::Asked => self.ask_again(now, outbox, id),
                State::Pending => self.ask_next_home(now, outbox, id),
                State::LastResort(failure, _) => self.finish(outbox, id, &NameOutcome::Failed(failure)),
                State::Upstream => {}
            }
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.open.values().filter(|question| question.state != State::Upstream).map(|question| question.deadline).min()
    }

    fn ask_home(&mut self, now: Time, outbox: &mut Outbox, id: QueryId) {
        let Some(question) = self.open.get_mut(&id) else { return };
        let Some(home) = question.home() else { return self.ask_upstream(outbox, id) };
        question.state = State::Asked;
        question.tries += 1;
        question.deadline = now + self.config.home_timeout;
        outbox.send(home, ControlMessage::Resolve { query: id, name: Box::new(question.name.clone()) });
    }

    fn ask_again(&mut self, now: Time, outbox: &mut Outbox, id: QueryId) {
        let Some(question) = self.open.get(&id) else { return };
        if question.tries < self.config.tries_per_home {
            self.ask_home(now, outbox, id);
        } else {
            self.ask_next_home(now, outbox, id);
        }
    }

    fn ask_next_home(&mut self, now: Time, outbox: &mut Outbox, id: QueryId) {
        let Some(question) = self.open.get_mut(&id) else { return };
        question.rank += 1;
        question.tries = 0;
        self.ask_home(now, outbox, id);
    }

    fn ask_upstream(&mut self, outbox: &mut Outbox, id: QueryId) {
        let Some(question) = self.open.get_mut(&id) else { return };
        if question.name.registry.is_empty() {
            return self.finish(outbox, id, &NameOutcome::Failed(UpstreamFailure::NotFound));
        }
        question.state = State::Upstream;
        let lookup = LookupId(id.0);
        let name = question.name.clone();
        self.by_lookup.insert(lookup, id);
        outbox.push(Output::AskUpstream { lookup, name });
    }

    fn finish(&mut self, outbox: &mut Outbox, id: QueryId, outcome: &NameOutcome) {
        let Some(question) = self.open.remove(&id) else { return };
        self.by_name.remove(&question.name);
        self.by_lookup.retain(|_, open| *open != id);
        for query in question.readers {
            outbox.push(Output::Answer { query, outcome: outcome.clone() });
        }
    }
}

/// Whether `name` can stand for `found`: a digest stands for itself alone.
fn names(name: &Name, found: &Descriptor) -> bool {
    match name.reference {
        Reference::Digest(digest) => digest == found.digest,
        Reference::Tag(_) => true,
    }
}

impl Question {
    /// Counts the answer of one home in the last resort; says whether another one may still know better.
    fn awaits_another_home(&mut self) -> bool {
        let State::LastResort(_, unanswered) = &mut self.state else { return false };
        *unanswered = unanswered.saturating_sub(1);
        *unanswered > 0
    }

    fn home(&self) -> Option<MemberId> {
        self.homes.get(self.rank)
    }

    fn is_due(&self, now: Time) -> bool {
        self.state != State::Upstream && self.deadline <= now
    }
}
