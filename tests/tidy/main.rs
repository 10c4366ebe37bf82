//! Holds the tree to its own rules: which module may import which, how large files and functions may grow, how modules are
//! listed, and which words belong in one place only. Each rule is a function from sources to complaints; one test runs it
//! over the tree, and the tests below it run it over snippets that break it.
//!
//! The rules read text and never compile it. Comments and literals are blanked first, so their content breaks no rule.

// Code, comments and literals of a text.
mod text;

// One file: what it declares and imports.
mod source;

// Functions of a file: length and parameters.
mod signature;

// Every file of the repository, and snippets in their place.
mod tree;

// A bound with exceptions that only shrink.
mod ratchet;

// The exceptions of today.
mod ratchet_lists;

// Which file imports which.
mod graph;

// Rule: top modules import downward.
mod layers;

// Rule: files of a folder import one way.
mod rings;

// Rule: modules are listed in reading order.
mod module_lists;

// Rules: lengths and parameters.
mod lengths;

// Rule: public type names occur once.
mod type_names;

// Rules: words that a part of the tree must not know.
mod vocabulary;

// Rules: code that belongs in one place, or in none.
mod places;
