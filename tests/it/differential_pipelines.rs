//! Pipelines in which a name has several meanings, and failures inside COPY:
//! what is sent before an answer has come must not be confused with what the
//! answer is about.

use crate::differential_cases::compare;

#[test]
fn a_portal_bound_behind_a_sync_outlives_it() {
    compare(&[
        (
            "bound behind Sync, executed later",
            "P - select 1\nB - -\nE -\nS\nP - select 2\nB - -\n--- 1\nE -\nS",
        ),
        (
            "bound behind Query, executed later",
            "Q select 1\nP - select 2\nB - -\n--- 1\nE -\nS",
        ),
        (
            "named, bound behind Sync, executed later",
            "P s select 1\nB p s\nE p\nS\nB q s\n--- 1\nE q\nS",
        ),
        (
            "bound behind a failure",
            "P - select 1/0\nB - -\nE -\nS\nP - select 2\nB - -\n--- 1\nE -\nS",
        ),
        (
            "bound before Sync is gone",
            "P s select 1\nB p s\nE p\nS\nE p\nS\n---\nQ select 1",
        ),
        (
            "bound behind COMMIT",
            "Q begin\n---\nP c commit\nB - c\nE -\nP s select 3\nB p s\nH\n--- 0\nE p\nS",
        ),
    ]);
}

#[test]
fn a_name_means_what_was_said_last() {
    compare(&[
        (
            "a failed Parse of the unnamed statement and a good one behind it",
            "P - select * from nosuch\nS\nP - select 7\n--- 1\nB - -\nE -\nS",
        ),
        (
            "a failed Parse of a name and a good one behind it, one write",
            "P a select * from nosuch\nS\nP a select 3\nB - a\nE -\nS\n---\nB - a\nE -\nS",
        ),
        (
            "a skipped Parse of a name and a good one behind it, one write",
            "P - select 1/0\nB - -\nE -\nP a select 2\nS\nP a select 3\nB - a\nE -\nS",
        ),
        (
            "a name that is taken by a Parse on its way",
            "P a select 2\nP a select 3\nB - a\nE -\nS\n---\nB - a\nE -\nS",
        ),
        (
            "a name closed and given anew, one write",
            "P a select 2\nC S a\nP a select 3\nB - a\nE -\nS",
        ),
        (
            "a close that is skipped",
            "P a select 2\nS\n---\nP - select 1/0\nB - -\nE -\nC S a\nS\nB - a\nE -\nS",
        ),
        (
            "a portal bound again behind a failure, one write",
            "P s select 1\nS\n---\nP - select 1/0\nB - -\nE -\nB p s\nS\nB p s\nE p\nS",
        ),
        (
            "a name closed and given anew, all of it skipped, one write",
            "P a select 2\nB - nosuch\nC S a\nP a select 3\nS\nB - a\nE -\nS",
        ),
        (
            "a close that is skipped, then the name once more, one write",
            "P a select 2\nS\nE nope\nC S a\nS\nP a select 3\nS\nB - a\nE -\nS",
        ),
        (
            "PREPARE of a name that Parse has taken",
            "P b select 1\nS\n---\nQ prepare b as select 2\nB - b\nE -\nS",
        ),
        (
            "PREPARE of a name that Parse has taken, extended",
            "P b select 1\nS\n---\nP - prepare b as select 2\nB - -\nE -\nS\nB - b\nE -\nS",
        ),
        (
            "DEALLOCATE ALL leaves the unnamed statement",
            "P - select 5\nS\n---\nP b deallocate all\nB - b\nE -\nS\n---\nB - -\nE -\nS",
        ),
        (
            "DECLARE outside a transaction",
            "Q declare c cursor for select * from item\nQ fetch c",
        ),
        (
            "a wrong number of values names the statement",
            "P mine select 1\nB - mine 5\nE -\nS",
        ),
    ]);
}

#[test]
fn a_failure_inside_copy_leaves_client_and_server_in_step() {
    compare(&[
        (
            "bad data and Sync",
            "P - copy item from stdin\nB - -\nE -\nH\n--- 0\nd bad\nd 4\nS\n---\nQ select 1",
        ),
        (
            "bad data, CopyDone and Sync",
            "P - copy item from stdin\nB - -\nE -\nH\n--- 0\nd bad\nc\nS\n---\nQ select 1",
        ),
        (
            "bad data, Sync, CopyDone and Sync",
            "P - copy item from stdin\nB - -\nE -\nH\n--- 0\nd bad\nS\nc\nS\n---\nQ select 1",
        ),
        (
            "bad data and two Syncs",
            "P - copy item from stdin\nB - -\nE -\nH\n--- 0\nd bad\nS\nS\n---\nQ select 1",
        ),
        (
            "Sync in front of good data is ignored",
            "P - copy item from stdin\nB - -\nE -\nH\n--- 0\nS\nd 901\tx\t1\nc\nS\n--- 1\nQ delete from item where id = 901",
        ),
        (
            "CopyFail and Sync",
            "P - copy item from stdin\nB - -\nE -\nH\n--- 0\nS\nf no\nS\n--- 1\nQ select 1",
        ),
        (
            "bad data in a simple query, and Sync",
            "Q copy item from stdin\n--- 0\nd bad\nS\n--- 2\nQ select 1",
        ),
    ]);
}

#[test]
fn a_query_commits_what_stands_before_it_in_the_pipeline() {
    compare(&[
        (
            "a counted change, then a setting",
            "P u update item set name = 'x' || name where id = 3\nB - u\nE -\nQ set work_mem = '5MB'\n---\nQ select name from item where id = 3\nQ show work_mem",
        ),
        (
            "a change of code, then a setting",
            "P - do $$begin update item set name = 'x' || name where id = 4; end$$\nB - -\nE -\nQ set work_mem = '5MB'\n---\nQ select name from item where id = 4",
        ),
        (
            "a change of code, then a change",
            "P - do $$begin update item set name = 'x' || name where id = 5; end$$\nB - -\nE -\nQ update item set name = 'y' || name where id = 5\n---\nQ select name from item where id = 5",
        ),
        (
            "a change of code, then an error",
            "P - do $$begin update item set name = 'x' || name where id = 6; end$$\nB - -\nE -\nQ select 1/0\n---\nQ select name from item where id = 6",
        ),
        (
            "a change of code, then a block",
            "P - do $$begin update item set name = 'x' || name where id = 7; end$$\nB - -\nE -\nH\n--- 0\nQ rollback\n---\nQ select name from item where id = 7",
        ),
        (
            "a setting, then a counted change",
            "P - set work_mem = '6MB'\nB - -\nE -\nQ update item set name = 'z' || name where id = 8\n---\nQ show work_mem",
        ),
    ]);
}
