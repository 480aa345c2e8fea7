//! Restricted media (MSC3911): how it comes to be, how it goes, and who is made to use it.

mod blocked;
