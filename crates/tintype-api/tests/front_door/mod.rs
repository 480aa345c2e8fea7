//! In front of the homeserver: what is passed on to it, what is not, and what is changed on the way.

mod versions;
