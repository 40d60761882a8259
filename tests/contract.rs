//! What every broker does, whichever end of the port it is: one suite, run on the in-memory broker and on real Kafka.
//! Where the two disagree, the in-memory broker is wrong.

// It is `cfg(test)`, here and below, and saying so tells the lints.
#[cfg(test)]
#[expect(dead_code, reason = "each test binary takes its own part")]
mod support;

#[cfg(test)]
#[path = "contract/ends.rs"]
mod ends;
#[cfg(test)]
#[path = "contract/late.rs"]
mod late;
#[cfg(test)]
#[path = "contract/log.rs"]
mod log;
#[cfg(test)]
#[path = "contract/members.rs"]
mod members;
#[cfg(test)]
#[path = "contract/offsets.rs"]
mod offsets;
#[cfg(test)]
#[path = "contract/rebalance.rs"]
mod rebalance;
#[cfg(test)]
#[path = "contract/statics.rs"]
mod statics;
#[cfg(test)]
#[path = "contract/topics.rs"]
mod topics;

/// Each row is a function of an end, and here a test for each of the two ends.
macro_rules! rows {
    ($memory:ident, $kafka:ident, $end:expr; $($room:ident: $($row:ident),+;)+) => {
        mod $memory {
            $($(#[test] fn $row() { crate::$room::$row(&crate::ends::Memory::new()); })+)+
        }
        mod $kafka {
            $($(#[test] fn $row() { crate::$room::$row($end); })+)+
        }
    };
}

rows! {
    in_memory, on_kafka, &crate::ends::Kafka::shared();
    topics:
        a_topic_that_exists_is_not_created_again,
        a_topic_made_anew_has_another_id_and_no_offsets,
        a_fetch_never_takes_a_topic_made_anew_for_the_one_before,
        settings_are_read_back,
        wishes_that_cannot_be_granted_are_refused;
    log:
        keys_values_and_their_absence_come_back,
        batches_for_one_partition_keep_their_order,
        a_backlog_larger_than_a_fetch_is_read_to_its_end,
        an_offset_outside_the_log_is_refused,
        a_fetch_waits_for_a_write_and_no_longer,
        a_batch_that_is_too_large_is_refused_whole,
        the_brokers_time_is_given_back_where_the_topic_wants_it,
        the_clusters_time_is_told_whatever_topics_want,
        a_place_is_found_by_the_time_of_its_record,
        a_record_dated_far_ahead_is_refused,
        a_compacted_topic_takes_no_record_without_a_key,
        what_does_not_exist_is_told;
    rebalance:
        members_get_what_their_leader_shares_out,
        a_follower_waits_for_the_leaders_shares,
        leaving_makes_the_others_share_out_anew,
        a_new_member_is_one_under_the_id_that_it_was_told_however_often_it_asks,
        a_silent_member_is_put_out_when_its_session_ends,
        the_leader_that_joins_again_begins_a_new_generation,
        members_that_do_not_fit_are_refused;
    offsets:
        a_commit_under_another_generation_is_refused,
        a_commit_by_somebody_else_is_refused,
        any_member_may_commit_any_partition,
        an_empty_group_takes_commits_without_a_generation,
        a_groups_members_are_told_until_they_leave,
        a_refusal_for_one_partition_is_for_that_one_alone,
        commits_are_let_through_while_members_gather_and_not_while_shares_are_made;
    statics:
        joining_again_with_the_old_id_fences_nothing,
        a_new_member_id_fences_the_old_one,
        a_second_process_with_an_instance_id_fences_the_first,
        a_static_member_that_comes_back_keeps_its_share,
        a_static_leader_that_comes_back_is_told_to_share_out_nothing,
        partitions_added_while_the_groups_leader_restarts_are_shared_out;
}

rows! {
    late_in_memory, late_on_kafka, &crate::ends::Proxied::shared();
    late:
        a_late_commit_is_applied_although_its_member_joined_again,
        a_late_commit_is_refused_after_a_new_member_id;
}
