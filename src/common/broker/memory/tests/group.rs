//! A group as time passes.

use std::time::{Duration, Instant};

use crate::common::broker::memory::group::{Group, Later, Phase};
use crate::common::broker::memory::joining::Joining;
use crate::common::broker::{ErrorCode, Holder, JoinRequest, Subscription};

const SESSION: Duration = Duration::from_secs(30);
const REBALANCE: Duration = Duration::from_secs(10);

struct Timed {
    group: Group,
    began: Instant,
}

impl Timed {
    fn new() -> Self {
        Self { group: Group::new(), began: Instant::now() }
    }

    fn at(&self, secs: u64) -> Instant {
        self.began + Duration::from_secs(secs)
    }

    fn advance(&mut self, secs: u64) {
        let now = self.at(secs);
        self.group.advance(now);
    }

    fn ask(&mut self, id: &str, instance: Option<&str>, fresh: &str, secs: u64) -> Joining {
        let request = JoinRequest {
            group: String::new(),
            member_id: id.to_owned(),
            instance_id: instance.map(str::to_owned),
            session_timeout: SESSION,
            rebalance_timeout: REBALANCE,
            protocol: "p".to_owned(),
            subscription: Subscription::default(),
        };
        let now = self.at(secs);
        self.group.join(&request, fresh.to_owned(), now)
    }

    /// Joins as a new member by that name.
    fn join(&mut self, id: &str, secs: u64) -> Joining {
        assert!(matches!(self.ask("", None, id, secs), Joining::Promised(_)));
        self.ask(id, None, "", secs)
    }

    /// Makes the leader share out nothing to any member.
    fn share_out(&mut self, secs: u64) {
        let leader = self.holder(&self.group.leader.clone().unwrap());
        let now = self.at(secs);
        self.group.sync(&leader, "p", &[], now).unwrap();
        assert_eq!(self.group.phase, Phase::Stable);
    }

    fn holder(&self, id: &str) -> Holder {
        let instance_id = self.group.members.get(id).and_then(|member| member.instance_id.clone());
        let generation = self.group.generation;
        Holder { group: String::new(), member_id: id.to_owned(), instance_id, generation }
    }

    fn beat(&mut self, id: &str, secs: u64) -> Result<(), ErrorCode> {
        let (holder, now) = (self.holder(id), self.at(secs));
        self.group.heartbeat(&holder, now)
    }

    fn check(&self, members: &[&str], phase: Phase) {
        let ids: Vec<&str> = self.group.members.keys().map(String::as_str).collect();
        assert_eq!((ids, self.group.phase), (members.to_vec(), phase));
    }
}

#[test]
fn a_session_lasts_from_the_last_sign_of_life() {
    let mut t = Timed::new();
    t.join("a", 0);
    t.share_out(0);
    t.advance(29);
    assert_eq!(t.beat("a", 29), Ok(()));
    t.advance(58);
    t.check(&["a"], Phase::Stable);
    t.advance(59);
    t.check(&[], Phase::Empty);
    assert_eq!(t.group.generation, 2, "the empty group is a generation of its own");
}

#[test]
fn who_does_not_join_again_in_time_is_put_out() {
    let mut t = Timed::new();
    t.join("a", 0);
    t.share_out(0);
    let Joining::Waiting(ticket) = t.join("b", 1) else { panic!("it waits for the other") };
    assert_eq!(t.beat("a", 10), Err(ErrorCode::RebalanceInProgress));
    assert!(t.group.take_answer(ticket).is_none());
    t.advance(11);
    let Some(Later::Joined(Ok(joined))) = t.group.take_answer(ticket) else { panic!("an answer") };
    assert_eq!((joined.generation, joined.members.len()), (2, 1));
    t.check(&["b"], Phase::Assigning);
}

#[test]
fn a_member_id_that_nobody_comes_with_holds_the_others_up_for_a_while() {
    let mut t = Timed::new();
    assert!(matches!(t.ask("", None, "lost", 0), Joining::Promised(_)));
    let Joining::Waiting(ticket) = t.join("a", 0) else { panic!("it waits for the other") };
    t.advance(9);
    assert!(t.group.take_answer(ticket).is_none());
    t.advance(10);
    assert!(t.group.take_answer(ticket).is_some());
    t.advance(30);
    assert!(matches!(t.ask("lost", None, "", 30), Joining::Answered(Err(ErrorCode::UnknownMemberId))));
}

#[test]
fn who_does_not_ask_for_its_share_in_time_is_put_out() {
    let mut t = Timed::new();
    t.join("a", 0);
    t.check(&["a"], Phase::Assigning);
    t.advance(10);
    t.check(&[], Phase::Empty);
}

#[test]
fn a_static_member_that_is_away_keeps_its_place_until_shares_are_overdue() {
    let mut t = Timed::new();
    t.ask("", Some("host"), "a", 0);
    t.share_out(0);
    t.join("b", 1);
    t.advance(11);
    t.check(&["a", "b"], Phase::Assigning);
    assert_eq!(t.group.leader.as_deref(), Some("b"), "who is away cannot lead");
    t.share_out(12);
    t.advance(20);
    t.check(&["a", "b"], Phase::Stable);
    t.advance(21);
    t.check(&["b"], Phase::Gathering);
}
