//! The command line: the real binary against canned answers and against `sandbar dev`.

mod canned;
mod command;
mod hostile;
mod run;
mod teams;
mod verbs;
