//! Media between servers: what is given to others, and what is fetched from them.

mod between;
