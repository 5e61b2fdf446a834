//! The pages: their commands exist and run, their links lead somewhere, and the lists of pages are complete.

mod commands;
mod index;
mod links;
mod names;
mod places;
mod run;
mod snippets;
