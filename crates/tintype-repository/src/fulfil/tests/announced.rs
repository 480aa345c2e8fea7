//! What is known of the length of an upload before it comes.

use super::*;

const COMPLETE: Resumable = Resumable { completion: Completion::Complete, length: None };
const INCOMPLETE: Resumable = Resumable { completion: Completion::Incomplete, length: None };

fn with_length(resumable: Resumable, length: u64) -> Resumable {
    Resumable { length: Some(length), ..resumable }
}

#[test]
fn a_length_is_known_by_whoever_says_it() {
    for (offset, earlier, content, resumable, length) in [
        (0, None, None, COMPLETE, None),
        (0, None, Some(5), COMPLETE, Some(5)),
        (0, None, Some(5), INCOMPLETE, None),
        (3, None, Some(5), COMPLETE, Some(8)),
        (3, Some(8), Some(5), COMPLETE, Some(8)),
        (3, Some(8), Some(5), with_length(COMPLETE, 8), Some(8)),
        (3, None, Some(4), with_length(INCOMPLETE, 8), Some(8)),
        (3, Some(8), None, INCOMPLETE, Some(8)),
        (8, Some(8), Some(0), COMPLETE, Some(8)),
    ] {
        let announced = Announced::of(offset, earlier, content, resumable).unwrap();
        assert_eq!(announced.length, length, "{offset} {earlier:?} {content:?} {resumable:?}");
    }
}

#[test]
fn lengths_that_contradict_each_other_are_refused() {
    for (offset, earlier, content, resumable) in [
        (3, Some(8), Some(4), COMPLETE),
        (3, Some(8), Some(6), COMPLETE),
        (3, Some(8), Some(6), INCOMPLETE),
        (3, Some(8), None, with_length(INCOMPLETE, 9)),
        (0, None, Some(5), with_length(COMPLETE, 6)),
        (0, None, Some(7), with_length(INCOMPLETE, 6)),
        (u64::MAX, Some(8), Some(u64::MAX), INCOMPLETE),
    ] {
        let announced = Announced::of(offset, earlier, content, resumable);
        assert!(announced.is_err(), "{offset} {earlier:?} {content:?} {resumable:?}: {announced:?}");
    }
}

#[test]
fn a_length_that_is_behind_what_is_there_is_refused() {
    let announced = Announced::of(10, None, None, with_length(INCOMPLETE, 5));

    assert!(announced.is_err(), "{announced:?}");
}
