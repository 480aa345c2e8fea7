//! Messages: the media is seen by whom the homeserver shows the message.
//!
//! | | a stranger | an invited user | one who joined | one who left |
//! | --- | --- | --- | --- | --- |
//! | sent | ever | before, after the invitation | before the invitation, after it, after joining | before, after leaving |

use e2e::person::Answer;

use crate::room::{Moment, Onlooker, Room, Visibility};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sees {
    Yes,
    No,
}

/// A test for each moment at which a message was sent.
macro_rules! table {
    ($($name:ident $visibility:ident { $($who:ident $onlooker:ident: $first:ident $second:ident $last:ident;)* })*) => {
        $(mod $name {
            $(mod $who {
                use super::super::{Sees, looks_at};
                use crate::room::{Moment, Onlooker, Visibility};

                #[tokio::test]
                async fn sent_at_first() {
                    looks_at(Visibility::$visibility, Onlooker::$onlooker, Moment::AtFirst, Sees::$first).await;
                }

                #[tokio::test]
                async fn sent_after_the_invitations() {
                    let moment = Moment::AfterTheInvitations;
                    looks_at(Visibility::$visibility, Onlooker::$onlooker, moment, Sees::$second).await;
                }

                #[tokio::test]
                async fn sent_at_last() {
                    looks_at(Visibility::$visibility, Onlooker::$onlooker, Moment::AtLast, Sees::$last).await;
                }
            })*
        })*
    };
}

table! {
    world_readable WorldReadable {
        a_stranger Stranger: Yes Yes Yes;
        the_invited Invited: Yes Yes Yes;
        who_joined Joined: Yes Yes Yes;
        who_left Left: Yes Yes Yes;
    }
    shared Shared {
        a_stranger Stranger: No No No;
        the_invited Invited: No No No;
        who_joined Joined: Yes Yes Yes;
        who_left Left: Yes Yes No;
    }
    invited Invited {
        a_stranger Stranger: No No No;
        the_invited Invited: No Yes Yes;
        who_joined Joined: No Yes Yes;
        who_left Left: Yes Yes No;
    }
    joined Joined {
        a_stranger Stranger: No No No;
        the_invited Invited: No No No;
        who_joined Joined: No No Yes;
        who_left Left: Yes Yes No;
    }
}

/// The message, the media, a thumbnail of it and a copy: all or nothing.
async fn looks_at(visibility: Visibility, onlooker: Onlooker, moment: Moment, expected: Sees) {
    let room = visibility.room().await;
    let (person, media) = (room.onlooker(onlooker), room.message(moment));

    let is_shown = person.is_shown(&room.id, &media.event).await;
    let download = person.download(&media.mxc).await;
    let thumbnail = person.thumbnail(&media.mxc).await;
    let copy = person.try_to_copy(&media.mxc).await;

    assert_eq!(is_shown, expected == Sees::Yes, "what the homeserver shows");
    match expected {
        Sees::Yes => {
            download.is_the_photograph();
            thumbnail.is_its_thumbnail();
            let copy = copy.json["content_uri"].as_str().expect("a copy has a URI").to_owned();
            is_seen_by_the_copier_alone(room, person, &copy).await;
        }
        Sees::No => {
            for answer in [download, thumbnail, copy] {
                answer.is_unauthorized();
            }
        }
    }
}

async fn is_seen_by_the_copier_alone(room: &Room, copier: &e2e::person::Person, copy: &str) {
    let own: Answer = copier.download(copy).await;
    let others = room.owner.download(copy).await;

    own.is_the_photograph();
    others.is_unauthorized();
}
