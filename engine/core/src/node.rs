//! The whole engine of one member.

use std::{net::SocketAddr, time::Duration};

use shoal_wire::{control::ControlMessage, ids::MemberId, member::MemberRecord, name::Reference};

use crate::{
    census::Census,
    config::CoreConfig,
    directory::{members::AliveSet, names::Names, questions::Questions, rendezvous::Key},
    event::{Input, MemberEvent, Output},
    injection::Injection,
    membership::{KnownMembers, Membership, MembershipOutput},
    outbox::Outbox,
    swarm::{
        Surroundings, Swarm,
        neighbours::{Answer, Greeting},
    },
    time::Time,
};

/// How often homes look for askers that take too long.
const NAMES_TICK: Duration = Duration::from_secs(1);

/// One member of the swarm, without any I/O.
///
/// Order of calls: [`Node::handle`] with one input, then [`Node::poll_output`] until it is empty, then wait for the
/// next input or until [`Node::next_timeout`], whichever is first. Time never runs backwards between calls.
///
/// ```
/// use shoal_core::{config::CoreConfig, event::{Input, Output}, node::Node, time::Time};
/// use shoal_wire::{
///     digest::Digest, ids::{Generation, Incarnation, PublicKey}, member::MemberRecord, piece_map::PieceMap,
/// };
///
/// let own = MemberRecord {
///     public_key: PublicKey([1; 32]),
///     generation: Generation(1),
///     incarnation: Incarnation(0),
///     address: "10.0.0.5:5001".parse()?,
///     zone: String::new(),
///     version: 1,
///     upload_bytes_per_s: 0,
/// };
/// let mut node = Node::new(CoreConfig::default(), own, 7, Time::ZERO);
/// let digest = Digest::Sha256([2; 32]);
/// node.handle(Time::ZERO, Input::Want { digest, size: 1000, have: PieceMap::empty(1), can_lease: true });
/// node.handle(Time::ZERO, Input::Timeout);
/// // Alone, it is its own home, and leases the blob to itself.
/// let outputs: Vec<_> = std::iter::from_fn(|| node.poll_output()).collect();
/// assert!(outputs.iter().any(|output| matches!(output, Output::FetchUpstream { count: 1, .. })));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug)]
pub struct Node {
    membership: Membership,
    alive: AliveSet,
    names: Names,
    questions: Questions,
    injection: Injection,
    swarm: Swarm,
    outbox: Outbox,
    names_tick_at: Option<Time>,
    /// When any machine but the swarm wants to be woken: kept, because most inputs are about pieces and leave the others as
    /// they are.
    others_next: Option<Time>,
    /// Whether that is so: after the first input that was not about pieces.
    has_settled: bool,
}

impl Node {
    /// A node that is a cluster of one. Equal arguments and equal inputs give equal outputs.
    pub fn new(config: CoreConfig, own: MemberRecord, seed: u64, now: Time) -> Self {
        let membership = Membership::new(config.membership.clone(), own, seed, now);
        Self::around(membership, config, seed)
    }

    /// A node that begins with `members` alive, for drivers that know the cluster already: as after a join that others
    /// took note of, without introductions, events or news. The driver is told of no key of theirs. What `members`
    /// says of this node itself is replaced by `own`.
    ///
    /// The nodes of one process share the table, each but for what changes at it: see [`KnownMembers`].
    pub fn with_members(config: CoreConfig, own: MemberRecord, members: &KnownMembers, seed: u64, now: Time) -> Self {
        let membership = Membership::with_members(config.membership.clone(), own, members, seed, now);
        Self::around(membership, config, seed)
    }

    fn around(membership: Membership, config: CoreConfig, seed: u64) -> Self {
        let id = membership.own().id();
        Self {
            alive: AliveSet::all(membership.roster(), id),
            membership,
            names: Names::new(config.directory.clone()),
            questions: Questions::new(config.directory),
            injection: Injection::new(config.injection, seed),
            swarm: Swarm::new(config.swarm, seed),
            outbox: Outbox::new(id),
            names_tick_at: None,
            others_next: None,
            has_settled: false,
        }
    }

    /// Takes one input at time `now`.
    pub fn handle(&mut self, now: Time, input: Input) {
        let is_about_pieces = self.has_settled && is_about_pieces(&input);
        match input {
            Input::Timeout => self.handle_timeout(now),
            Input::Gossip { from, packet } => self.membership.handle_packet(now, from, packet),
            Input::Control { from, message } => self.handle_control(now, from, message),
            Input::ControlLost { to } => self.handle_lost(now, to),
            Input::Seeds(seeds) => self.handle_seeds(now, seeds),
            Input::Leave => self.membership.leave(now),
            input => self.handle_local(now, input),
        }
        if is_about_pieces {
            // The other machines have nothing new, unless the node says something to itself.
            let Some(message) = self.outbox.pop_local() else { return };
            self.handle_control(now, self.outbox.own(), message);
        }
        self.settle(now);
        self.others_next = self.next_of_others();
        self.has_settled = true;
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    /// When [`Input::Timeout`] is due.
    pub fn next_timeout(&self) -> Option<Time> {
        let others = if self.has_settled { self.others_next } else { self.next_of_others() };
        others.into_iter().chain(self.swarm.next_timeout()).min()
    }

    fn next_of_others(&self) -> Option<Time> {
        let membership = self.membership.next_timeout();
        let directory = [self.questions.next_timeout(), self.names_tick_at];
        directory.into_iter().chain([membership, self.injection.next_timeout()]).flatten().min()
    }

    /// This node's view of the cluster.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// How much it keeps of everything, at this moment.
    pub fn census(&self) -> Census {
        let mut census = Census { questions: self.questions.len(), ..Census::default() };
        self.swarm.count(&mut census);
        self.injection.count(&mut census);
        census
    }

    /// This node's id.
    pub fn id(&self) -> MemberId {
        self.outbox.own()
    }

    fn handle_seeds(&mut self, now: Time, seeds: Vec<SocketAddr>) {
        if !seeds.is_empty() {
            self.alive.note_seeds(now);
        }
        self.membership.set_seeds(now, seeds);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.membership.handle_timeout(now);
        self.questions.handle_timeout(now, &mut self.outbox);
        self.injection.handle_timeout(now, &mut self.outbox);
        let (swarm, mut around) = self.swarm(now);
        swarm.handle_timeout(&mut around);
        if self.names_tick_at.is_some_and(|at| at <= now) {
            self.names_tick_at = None;
            let alive = self.alive.with(self.membership.roster());
            self.names.handle_tick(now, &mut self.outbox, |member| alive.contains(member));
            if self.names.is_waiting() {
                self.names_tick_at = Some(now + NAMES_TICK);
            }
        }
    }

    /// What a local reader, the store or a transfer reports.
    fn handle_local(&mut self, now: Time, input: Input) {
        if let Input::Resolve { query, name } = input {
            let homes = self.alive.with(self.membership.roster()).homes(Key::of_name(&name));
            return self.questions.ask(now, &mut self.outbox, query, name, homes);
        }
        if let Input::UpstreamSaid { lookup, outcome } = input {
            return self.questions.handle_upstream(now, &mut self.outbox, lookup, outcome);
        }
        let (swarm, mut around) = self.swarm(now);
        let around = &mut around;
        match input {
            Input::Want { digest, size, have, can_lease } => swarm.want(around, digest, size, have, can_lease),
            Input::Hold { digest, size } => swarm.hold(around, digest, size),
            Input::Unwant { digest } | Input::Dropped { digest } => swarm.drop_blob(around, &digest),
            Input::Demand { digest, pieces } => swarm.demand(around, &digest, pieces),
            Input::ReadersAt { digest, piece } => swarm.readers_at(around, &digest, piece),
            Input::PieceStored { transfer, injector: _ } => swarm.piece_stored(around, transfer),
            Input::PieceProgress { transfer } => swarm.piece_progress(now, transfer),
            Input::PieceFailed { transfer, failure } => swarm.piece_failed(around, transfer, failure),
            Input::PieceRequested { upload, from, digest, piece, urgency, held } => {
                swarm.piece_requested(around, upload, from, (&digest, piece), urgency, held);
            }
            Input::UploadEnded { upload } => swarm.upload_ended(around, upload),
            Input::LeasePiece { lease, digest, piece } => swarm.lease_piece(around, lease, &digest, piece),
            Input::LeaseEnded { lease, digest, result } => swarm.lease_ended(around, lease, &digest, result),
            Input::Verified { digest } => swarm.verified(around, &digest),
            Input::Corrupt { digest } => swarm.corrupt(around, &digest),
            // The rest is taken by `handle` and above.
            _ => {}
        }
    }

    fn handle_control(&mut self, now: Time, from: MemberId, message: ControlMessage) {
        match message {
            ControlMessage::Membership(message) => self.membership.handle_reliable(now, from, message),
            ControlMessage::Resolve { query, name } => {
                let announced = match &name.reference {
                    Reference::Digest(digest) => self.injection.announced_size(now, digest),
                    Reference::Tag(_) => None,
                };
                self.names_tick_at.get_or_insert(now + NAMES_TICK);
                self.names.handle_resolve(now, &mut self.outbox, from, query, *name, announced);
            }
            ControlMessage::Resolution { query, answer } => {
                self.questions.handle_answer(now, &mut self.outbox, from, query, *answer);
            }
            ControlMessage::Publish { name, outcome } => {
                self.names.handle_publish(now, &mut self.outbox, from, *name, *outcome);
            }
            message => self.handle_blob_message(now, from, message),
        }
    }

    /// Messages about blobs: first those to a home, then those to a member of a swarm.
    fn handle_blob_message(&mut self, now: Time, from: MemberId, message: ControlMessage) {
        match message {
            ControlMessage::Announce(announcement) => {
                let alive = self.alive.with(self.membership.roster());
                self.injection.handle_announce(now, &mut self.outbox, from, &announcement, alive);
            }
            ControlMessage::Withdraw { digest } => {
                self.injection.handle_withdraw(now, &mut self.outbox, from, &digest);
            }
            ControlMessage::LeaseProgress { digest, lease, next } => {
                self.injection.handle_progress(now, &mut self.outbox, from, &digest, lease, next);
            }
            ControlMessage::LeaseReturned { digest, lease, next, end } => {
                self.injection.handle_returned(now, &mut self.outbox, from, &digest, lease, (next, end));
            }
            message => self.handle_swarm_message(now, from, message),
        }
    }

    fn handle_swarm_message(&mut self, now: Time, from: MemberId, message: ControlMessage) {
        let (swarm, mut around) = self.swarm(now);
        let around = &mut around;
        match message {
            ControlMessage::Peers { digest, peers, gateways, coordinates, refresh_ms } => {
                let refresh = Duration::from_millis(u64::from(refresh_ms));
                swarm.peers_named(around, from, &digest, Answer { peers, gateways, coordinates, refresh });
            }
            ControlMessage::Lease { digest, lease, first, count } => {
                swarm.lease_given(around, from, digest, lease, first, count);
            }
            ControlMessage::LeaseCut { digest, lease, end } => swarm.lease_cut(around, from, &digest, lease, end),
            ControlMessage::SwarmFailed { digest, failure } => swarm.swarm_failed(around, from, &digest, failure),
            ControlMessage::Hello { digest, size, have, wants, reply, load } => {
                swarm.greeted(around, from, &digest, Greeting { size, have, wants, reply, load });
            }
            ControlMessage::Have { digest, pieces, held, load } => {
                swarm.neighbour_has(around, from, &digest, &pieces, held, load);
            }
            ControlMessage::SlotFree { load } => swarm.slot_free(around, from, load),
            ControlMessage::Part { digest } => swarm.neighbour_parted(around, from, &digest),
            // The rest is taken by the callers.
            _ => {}
        }
    }

    fn handle_lost(&mut self, now: Time, member: MemberId) {
        self.membership.handle_unreachable(now, member);
        self.questions.handle_lost(now, &mut self.outbox, member);
        self.injection.handle_unreachable(now, &mut self.outbox, member);
        let (swarm, mut around) = self.swarm(now);
        swarm.unreachable(&mut around, member);
    }

    /// Moves what membership says to whom it concerns, and delivers what the node says to itself, until all is quiet.
    fn settle(&mut self, now: Time) {
        loop {
            while let Some(output) = self.membership.poll_output() {
                self.handle_membership(now, output);
            }
            let Some(message) = self.outbox.pop_local() else { break };
            self.handle_control(now, self.outbox.own(), message);
        }
    }

    fn handle_membership(&mut self, now: Time, output: MembershipOutput) {
        match output {
            MembershipOutput::Packet { to, packet } => self.outbox.push(Output::Gossip { to, packet }),
            MembershipOutput::Reliable { to, message } => {
                self.outbox.send(to, ControlMessage::Membership(message));
            }
            MembershipOutput::Event(event) => {
                // The driver learns of a key before it is asked to connect to its owner.
                self.outbox.push(Output::Member(event.clone()));
                self.handle_member_event(now, &event);
            }
        }
    }

    fn handle_member_event(&mut self, now: Time, event: &MemberEvent) {
        match event {
            MemberEvent::Up(record) => self.member_up(now, record),
            MemberEvent::Dead(member) | MemberEvent::Left(member) => self.member_gone(now, *member),
            MemberEvent::Suspected(_) | MemberEvent::Forgotten(_) => {}
        }
    }

    fn member_up(&mut self, now: Time, record: &MemberRecord) {
        let member = record.id();
        if self.membership.take_reborn(record) {
            self.member_gone(now, member);
        }
        let handle = self.membership.roster().find(member);
        if member == self.id() || !handle.is_some_and(|handle| self.alive.insert(now, handle)) {
            return;
        }
        let alive = self.alive.with(self.membership.roster());
        self.injection.handle_change(self.outbox.own(), alive);
        self.names.hand_over(&mut self.outbox, member, |name| {
            let homes = alive.homes(Key::of_name(name));
            homes.rank_of(member).is_some()
        });
        let (swarm, mut around) = self.swarm(now);
        swarm.member_up(&mut around, member);
    }

    fn member_gone(&mut self, now: Time, member: MemberId) {
        let handle = self.membership.roster().find(member);
        if member == self.id() || !handle.is_some_and(|handle| self.alive.remove(now, handle)) {
            return;
        }
        self.questions.handle_lost(now, &mut self.outbox, member);
        self.injection.handle_change(self.outbox.own(), self.alive.with(self.membership.roster()));
        self.injection.handle_gone(now, &mut self.outbox, member);
        let (swarm, mut around) = self.swarm(now);
        swarm.member_gone(&mut around, member);
    }

    /// The swarm, and what it acts with.
    fn swarm(&mut self, now: Time) -> (&mut Swarm, Surroundings<'_>) {
        (
            &mut self.swarm,
            Surroundings { now, outbox: &mut self.outbox, members: self.alive.with(self.membership.roster()) },
        )
    }
}

/// Whether an input concerns the exchange of pieces alone.
fn is_about_pieces(input: &Input) -> bool {
    match input {
        Input::Control { message, .. } => matches!(
            message,
            ControlMessage::Hello { .. } | ControlMessage::Have { .. } | ControlMessage::SlotFree { .. }
        ),
        Input::PieceStored { .. }
        | Input::PieceProgress { .. }
        | Input::PieceFailed { .. }
        | Input::PieceRequested { .. }
        | Input::UploadEnded { .. } => true,
        _ => false,
    }
}
