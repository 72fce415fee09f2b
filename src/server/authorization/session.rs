//! A person in a browser.
