//! Somebody who asks us for media and is not who they say, or more than they may be.
