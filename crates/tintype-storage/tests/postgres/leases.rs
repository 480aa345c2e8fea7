//! What a node does for all of them.

use tintype_storage::records::{LeaseOutcome, NodeId, RegisterNode};

use crate::media::two_nodes;

#[tokio::test]
async fn a_lease_is_of_a_node_that_is_alive_and_of_no_other() {
    let (one, two, _database) = two_nodes().await;
    let (first, second) = (NodeId(1), NodeId(2));
    for (records, id, address) in [(&one, first, "http://one"), (&two, second, "http://two")] {
        let node = RegisterNode { id, address: Some(address.to_owned()), replaces: false };
        records.register_node(node).await.unwrap();
    }
    assert_eq!(one.take_lease("sweep", first).await.unwrap(), LeaseOutcome::Taken);
    assert_eq!(two.take_lease("sweep", second).await.unwrap(), LeaseOutcome::Held(first));

    two.deregister_node(first).await.unwrap();

    assert_eq!(one.take_lease("sweep", first).await.unwrap(), LeaseOutcome::Dead);
    assert_eq!(two.take_lease("sweep", second).await.unwrap(), LeaseOutcome::Taken);
    assert_eq!(one.take_lease("sweep", first).await.unwrap(), LeaseOutcome::Held(second));
}
