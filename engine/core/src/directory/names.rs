//! A home's side of name resolution: what names stand for, and who is finding out.
//!
//! The first asker of an unknown name is told to ask its upstream, all others wait for what that one publishes. So any
//! number of nodes that ask at once costs the registry one request.

use std::{collections::BTreeMap, time::Duration};

use shoal_wire::{
    control::{ControlMessage, NameAnswer, NameOutcome, UpstreamFailure},
    digest::Digest,
    ids::{MemberId, QueryId},
    name::{ContentKind, Descriptor, Name, Reference},
};

use super::waiting::Waiting;
use crate::{config::DirectoryConfig, outbox::Outbox, time::Time};

/// Names that are told to one new member at most; older ones are found out anew.
const HAND_OVER_MAX: usize = 1000;

/// What a home knows about names. Bounded by [`DirectoryConfig::names_max`]; the least recently used goes first.
#[derive(Debug)]
pub(crate) struct Names {
    config: DirectoryConfig,
    records: BTreeMap<Name, Record>,
    /// Names by last use, so that the oldest is found when the bound is reached.
    by_use: BTreeMap<(Time, u64), Name>,
    uses: u64,
}

#[derive(Debug)]
struct Record {
    found: Option<Descriptor>,
    failed: Option<UpstreamFailure>,
    fresh_until: Time,
    asker: Option<Asker>,
    waiting: Waiting,
    used: (Time, u64),
}

/// Who was told to ask the upstream, and until when it may take.
#[derive(Clone, Copy, Debug)]
struct Asker {
    member: MemberId,
    query: QueryId,
    until: Time,
}

impl Names {
    pub(crate) fn new(config: DirectoryConfig) -> Self {
        Self { config, records: BTreeMap::new(), by_use: BTreeMap::new(), uses: 0 }
    }

    /// A member asks. `announced_size` is the size of the blob where some member announced it here.
    pub(crate) fn handle_resolve(
        &mut self,
        now: Time,
        outbox: &mut Outbox,
        from: MemberId,
        query: QueryId,
        name: Name,
        announced_size: Option<u64>,
    ) {
        if let Some(descriptor) = self.known_content(now, &name, announced_size) {
            return answer(outbox, from, query, NameAnswer::Outcome(NameOutcome::Found(descriptor)));
        }
        let can_ask = !name.registry.is_empty();
        let waiting_max = self.config.waiting_max;
        let upstream_timeout = self.config.upstream_timeout;
        let record = self.touch(now, name);
        if let Some(outcome) = record.fresh(now) {
            answer(outbox, from, query, NameAnswer::Outcome(outcome));
        } else if !can_ask {
            answer(outbox, from, query, NameAnswer::Outcome(NameOutcome::Failed(UpstreamFailure::NotFound)));
        } else if record.asker.is_none_or(|asker| asker.member == from || asker.until <= now) {
            record.asker = Some(Asker { member: from, query, until: now + upstream_timeout });
            answer(outbox, from, query, NameAnswer::AskUpstream);
        } else {
            record.waiting.add(from, query, waiting_max);
            answer(outbox, from, query, NameAnswer::Pending);
        }
    }

    /// A member says what its upstream answered.
    pub(crate) fn handle_publish(
        &mut self,
        now: Time,
        outbox: &mut Outbox,
        from: MemberId,
        name: Name,
        outcome: NameOutcome,
    ) {
        match outcome {
            NameOutcome::Found(descriptor) => self.publish_found(now, outbox, name, descriptor),
            NameOutcome::Failed(failure) => self.publish_failed(now, outbox, from, name, failure),
        }
    }

    /// Lets the next one ask where an asker took too long or died. Called about once a second.
    pub(crate) fn handle_tick(&mut self, now: Time, outbox: &mut Outbox, is_alive: impl Fn(MemberId) -> bool) {
        let upstream_timeout = self.config.upstream_timeout;
        for record in self.records.values_mut() {
            let Some(asker) = record.asker else { continue };
            if now < asker.until && is_alive(asker.member) {
                continue;
            }
            record.ask_next(now + upstream_timeout, outbox);
        }
    }

    /// Tells a new member what it must know as a home of names that this node is a home of.
    pub(crate) fn hand_over(&self, outbox: &mut Outbox, to: MemberId, is_home: impl Fn(&Name) -> bool) {
        for name in self.by_use.values().rev().take(HAND_OVER_MAX) {
            if let Some(found) = self.records.get(name).and_then(|record| record.found.as_ref())
                && is_home(name)
            {
                let outcome = NameOutcome::Found(found.clone());
                outbox.send(to, ControlMessage::Publish { name: Box::new(name.clone()), outcome: Box::new(outcome) });
            }
        }
    }

    /// Whether [`Names::handle_tick`] has anything to watch.
    pub(crate) fn is_waiting(&self) -> bool {
        self.records.values().any(|record| record.asker.is_some())
    }

    fn known_content(&self, now: Time, name: &Name, announced_size: Option<u64>) -> Option<Descriptor> {
        let Reference::Digest(digest) = name.reference else { return None };
        let names_no_registry = name.registry.is_empty();
        if let Some(record) = self.records.get(&anonymous(name.kind, digest))
            && let Some(found) = &record.found
            && (names_no_registry || now < record.fresh_until)
        {
            return Some(found.clone());
        }
        let not_in_doubt = self.records.get(name).is_none_or(|record| record.fresh(now).is_none());
        // An announcement does not say whether the content is a manifest, so it answers for manifests only an asker
        // that has no upstream to ask.
        let size = announced_size.filter(|_| names_no_registry || (name.kind == ContentKind::Blob && not_in_doubt))?;
        Some(Descriptor { media_type: String::new(), digest, size })
    }

    /// What is known of content that is named by digest, under whatever name and however long ago it was found.
    fn known_by_digest(&self, name: &Name) -> Option<Descriptor> {
        let Reference::Digest(digest) = name.reference else { return None };
        self.records.get(&anonymous(name.kind, digest))?.found.clone()
    }

    fn publish_found(&mut self, now: Time, outbox: &mut Outbox, name: Name, descriptor: Descriptor) {
        if let Reference::Digest(digest) = name.reference
            && digest != descriptor.digest
        {
            return;
        }
        // What a tag stands for is soon asked for by digest. Not for ever: a registry may have said a wrong size.
        let fresh_until = now + self.config.content_freshness;
        let content = self.touch(now, anonymous(name.kind, descriptor.digest));
        content.found = Some(descriptor.clone());
        content.fresh_until = fresh_until;
        let fresh_until = now + self.config.tag_freshness;
        let record = self.touch(now, name);
        record.found = Some(descriptor.clone());
        record.failed = None;
        record.fresh_until = fresh_until;
        record.asker = None;
        record.answer_all(outbox, &NameOutcome::Found(descriptor));
    }

    fn publish_failed(&mut self, now: Time, outbox: &mut Outbox, from: MemberId, name: Name, failure: UpstreamFailure) {
        let upstream_timeout = self.config.upstream_timeout;
        let remembered = self.failure_freshness(failure);
        let known = self.known_by_digest(&name);
        let record = self.touch(now, name);
        record.found = record.found.take().or(known);
        let Some(asker) = record.asker.filter(|asker| asker.member == from) else {
            return record.note_failure(failure, now + remembered);
        };
        record.asker = None;
        match failure {
            // Only this member may not, or cannot, ask: another may.
            UpstreamFailure::Denied | UpstreamFailure::NoUpstream => {
                answer(outbox, from, asker.query, NameAnswer::Outcome(NameOutcome::Failed(failure)));
                record.ask_next(now + upstream_timeout, outbox);
            }
            UpstreamFailure::NotFound => {
                record.found = None;
                record.remember_failure(failure, now + remembered);
                record.answer_all(outbox, &NameOutcome::Failed(failure));
            }
            // The upstream is in trouble: what it said last still stands.
            UpstreamFailure::RateLimited { .. } | UpstreamFailure::Unavailable | UpstreamFailure::WrongContent => {
                record.remember_failure(failure, now + remembered);
                let outcome = record.found.clone().map_or(NameOutcome::Failed(failure), NameOutcome::Found);
                record.answer_all(outbox, &outcome);
            }
        }
    }

    fn failure_freshness(&self, failure: UpstreamFailure) -> Duration {
        match failure {
            UpstreamFailure::NotFound => self.config.not_found_freshness,
            UpstreamFailure::RateLimited { retry_after_s } => Duration::from_secs(u64::from(retry_after_s))
                .clamp(self.config.failure_freshness, Duration::from_secs(60)),
            _ => self.config.failure_freshness,
        }
    }

    /// The record of `name`, made where there is none, and marked as used now.
    fn touch(&mut self, now: Time, name: Name) -> &mut Record {
        self.uses += 1;
        let used = (now, self.uses);
        if let Some(record) = self.records.get(&name) {
            self.by_use.remove(&record.used);
        } else if self.records.len() >= self.config.names_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.records.remove(&oldest);
        }
        self.by_use.insert(used, name.clone());
        let record = self.records.entry(name).or_insert_with(|| Record {
            found: None,
            failed: None,
            fresh_until: Time::ZERO,
            asker: None,
            waiting: Waiting::default(),
            used,
        });
        record.used = used;
        record
    }
}

impl Record {
    fn fresh(&self, now: Time) -> Option<NameOutcome> {
        if now >= self.fresh_until {
            return None;
        }
        match (&self.found, self.failed) {
            (Some(found), _) => Some(NameOutcome::Found(found.clone())),
            (None, Some(failure)) => Some(NameOutcome::Failed(failure)),
            (None, None) => None,
        }
    }

    fn remember_failure(&mut self, failure: UpstreamFailure, until: Time) {
        self.failed = Some(failure);
        self.fresh_until = until;
    }

    /// Notes a failure that somebody met who was not told to ask: an upstream in trouble is not asked again at once.
    fn note_failure(&mut self, failure: UpstreamFailure, until: Time) {
        let in_trouble = matches!(failure, UpstreamFailure::Unavailable | UpstreamFailure::RateLimited { .. });
        if in_trouble && self.asker.is_none() {
            self.remember_failure(failure, until);
        }
    }

    fn answer_all(&mut self, outbox: &mut Outbox, outcome: &NameOutcome) {
        for (member, query) in self.waiting.take_all() {
            answer(outbox, member, query, NameAnswer::Outcome(outcome.clone()));
        }
    }

    /// Makes the longest-waiting member ask, or nobody where none waits.
    fn ask_next(&mut self, until: Time, outbox: &mut Outbox) {
        self.asker = self.waiting.pop().map(|(member, query)| Asker { member, query, until });
        if let Some(asker) = self.asker {
            answer(outbox, asker.member, asker.query, NameAnswer::AskUpstream);
        }
    }
}

/// The name under which content is kept whatever registry and repository it was found in.
fn anonymous(kind: ContentKind, digest: Digest) -> Name {
    Name { registry: String::new(), repository: String::new(), kind, reference: Reference::Digest(digest) }
}

fn answer(outbox: &mut Outbox, to: MemberId, query: QueryId, answer: NameAnswer) {
    outbox.send(to, ControlMessage::Resolution { query, answer: Box::new(answer) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Output;

    const OWN: MemberId = MemberId([0; 16]);
    const ASKER: MemberId = MemberId([1; 16]);

    fn tag(number: usize) -> Name {
        Name {
            registry: "registry.example".into(),
            repository: "app".into(),
            kind: ContentKind::Manifest,
            reference: Reference::Tag(format!("v{number}")),
        }
    }

    fn found() -> NameOutcome {
        let digest = Digest::Sha256([7; 32]);
        NameOutcome::Found(Descriptor { media_type: "application/x".into(), digest, size: 9 })
    }

    fn bench() -> (Names, Outbox) {
        let config = DirectoryConfig { names_max: 10, waiting_max: 3, ..DirectoryConfig::default() };
        (Names::new(config), Outbox::new(OWN))
    }

    fn answers(outbox: &mut Outbox) -> Vec<(MemberId, NameAnswer)> {
        let sent = std::iter::from_fn(|| outbox.pop());
        sent.filter_map(|output| match output {
            Output::Control { to, message: ControlMessage::Resolution { answer, .. } } => Some((to, *answer)),
            _ => None,
        })
        .collect()
    }

    #[test]
    fn names_are_bounded_and_the_longest_unused_goes_first() {
        let (mut names, mut outbox) = bench();
        for number in 0..100 {
            let now = Time::from_micros(number as u64);
            names.handle_publish(now, &mut outbox, ASKER, tag(number), found());
            assert!(names.records.len() <= 10 && names.by_use.len() == names.records.len());
        }
        assert!(names.records.contains_key(&tag(99)) && !names.records.contains_key(&tag(0)));
    }

    #[test]
    fn waiting_askers_are_bounded_and_told_to_wait_all_the_same() {
        let (mut names, mut outbox) = bench();
        for number in 0..10 {
            let from = MemberId([number + 1; 16]);
            names.handle_resolve(Time::ZERO, &mut outbox, from, QueryId(1), tag(0), None);
        }
        assert_eq!(names.records[&tag(0)].waiting.len(), 3);
        let answers = answers(&mut outbox);
        assert_eq!(answers[0], (ASKER, NameAnswer::AskUpstream));
        assert!(answers[1..].iter().all(|(_, answer)| *answer == NameAnswer::Pending));
    }

    #[test]
    fn a_wrong_digest_is_not_believed() {
        let (mut names, mut outbox) = bench();
        let name = Name { reference: Reference::Digest(Digest::Sha256([8; 32])), ..tag(0) };
        names.handle_publish(Time::ZERO, &mut outbox, ASKER, name.clone(), found());
        assert!(names.records.get(&name).is_none_or(|record| record.found.is_none()));
    }

    #[test]
    fn a_member_that_was_not_told_to_ask_cannot_make_a_name_unknown() {
        let (mut names, mut outbox) = bench();
        names.handle_publish(Time::ZERO, &mut outbox, ASKER, tag(0), found());
        let liar = MemberId([9; 16]);
        let not_found = NameOutcome::Failed(UpstreamFailure::NotFound);
        names.handle_publish(Time::ZERO, &mut outbox, liar, tag(0), not_found);
        names.handle_resolve(Time::ZERO, &mut outbox, liar, QueryId(1), tag(0), None);
        assert_eq!(answers(&mut outbox), [(liar, NameAnswer::Outcome(found()))]);
    }
}
