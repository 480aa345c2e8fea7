//! Media between servers: what is given to others, and what is fetched from them.

mod between;
mod hostile_asker;
mod hostile_origin;
