//! The tools for authors of policies, as their readers use them: the real
//! program, started in a folder.

mod author;
mod bindings;
mod commands;
mod interpreted;
mod languages;
mod replay;
mod tutorial;
