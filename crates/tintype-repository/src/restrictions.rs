//! What another server says of who may see its media (MSC3911): `restrictions` in the first part of its answers, under
//! the name of the proposal or under the one from before it was accepted.
//!
//! What is not understood is for nobody: whoever wrote it wanted to restrict the media to somebody.

use serde_json::{Map, Value};
use tintype_domain::{Audience, EventId, UserId};

/// The two names of the key.
const NAMES: [&str; 2] = ["org.matrix.msc3911.restrictions", "restrictions"];

/// Who may see media with this metadata. Media of which nothing is said is for everybody.
pub(crate) fn audience(metadata: &Map<String, Value>) -> Audience {
    let mut said = NAMES.iter().filter_map(|name| metadata.get(*name)).map(understood);
    let Some(first) = said.next() else { return Audience::Everyone };
    // One who says two things may have meant either.
    if said.all(|other| other == first) { first } else { Audience::Nobody }
}

/// Exactly one of the two things that media can belong to.
fn understood(restrictions: &Value) -> Audience {
    let one = restrictions.as_object().filter(|keys| keys.len() == 1).and_then(|keys| keys.iter().next());
    let understood = match one {
        Some((key, Value::String(id))) if key == "event_id" => EventId::parse(id).ok().map(Audience::Event),
        Some((key, Value::String(id))) if key == "profile_user_id" => UserId::parse(id).ok().map(Audience::Profile),
        _ => None,
    };
    understood.unwrap_or(Audience::Nobody)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EVENT: &str = "$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg";

    fn read(metadata: &Value) -> Audience {
        audience(metadata.as_object().unwrap())
    }

    fn event() -> Audience {
        Audience::Event(EVENT.try_into().unwrap())
    }

    fn profile() -> Audience {
        Audience::Profile("@bob:theirs.example".try_into().unwrap())
    }

    #[test]
    fn media_of_which_nothing_is_said_is_for_everybody() {
        for metadata in [
            json!({}),
            json!({ "org.matrix.msc4425.ephemeral": true }),
            json!({ "Restrictions": { "event_id": EVENT } }),
            json!({ "org.matrix.msc3911": { "restrictions": { "event_id": EVENT } } }),
            json!({ "event_id": EVENT }),
        ] {
            assert_eq!(read(&metadata), Audience::Everyone, "{metadata}");
        }
    }

    #[test]
    fn media_belongs_to_one_event_or_one_profile_under_either_name() {
        for (restrictions, audience) in [
            (json!({ "event_id": EVENT }), event()),
            (json!({ "event_id": "$old:theirs.example" }), Audience::Event("$old:theirs.example".try_into().unwrap())),
            (json!({ "profile_user_id": "@bob:theirs.example" }), profile()),
        ] {
            for metadata in [
                json!({ "org.matrix.msc3911.restrictions": restrictions }),
                json!({ "restrictions": restrictions }),
                json!({ "restrictions": restrictions, "org.matrix.msc3911.restrictions": restrictions }),
                json!({ "restrictions": restrictions, "org.matrix.msc4425.ephemeral": true, "x": {} }),
            ] {
                assert_eq!(read(&metadata), audience, "{metadata}");
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_for_nobody() {
        for restrictions in [
            json!({}),
            json!(null),
            json!(true),
            json!(false),
            json!(EVENT),
            json!([]),
            json!([{ "event_id": EVENT }]),
            json!({ "event_id": EVENT, "profile_user_id": "@bob:theirs.example" }),
            json!({ "event_id": EVENT, "profile_user_id": null }),
            json!({ "event_id": EVENT, "room_id": "!room:theirs.example" }),
            json!({ "room_id": "!room:theirs.example" }),
            json!({ "event_id": null }),
            json!({ "event_id": 7 }),
            json!({ "event_id": [EVENT] }),
            json!({ "event_id": "" }),
            json!({ "event_id": "@bob:theirs.example" }),
            json!({ "profile_user_id": EVENT }),
            json!({ "profile_user_id": "bob" }),
            json!({ "profile_user_id": {} }),
            json!({ "EVENT_ID": EVENT }),
        ] {
            for name in NAMES {
                let metadata = json!({ name: restrictions });
                assert_eq!(read(&metadata), Audience::Nobody, "{metadata}");
            }
        }
    }

    #[test]
    fn different_things_under_the_two_names_are_for_nobody() {
        let event_id = json!({ "event_id": EVENT });
        for other in [
            json!({ "event_id": "$another" }),
            json!({ "profile_user_id": "@bob:theirs.example" }),
            json!({}),
            json!(null),
            json!({ "event_id": EVENT, "x": 1 }),
        ] {
            for (one, two) in [(&event_id, &other), (&other, &event_id)] {
                let metadata = json!({ "restrictions": one, "org.matrix.msc3911.restrictions": two });
                assert_eq!(read(&metadata), Audience::Nobody, "{metadata}");
            }
        }
    }
}
