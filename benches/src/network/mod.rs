//! Namespaces, bridges and shaped links.
