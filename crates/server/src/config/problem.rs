//! What is wrong with a configuration, where, and what to write instead.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// Where a setting stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file, on this line (from 1).
    Line(usize),
    /// In this environment variable.
    Variable(Arc<str>),
    /// Nowhere: it is the default, or it is missing.
    Nowhere,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The key, as `config explain` takes it; empty if the trouble has none.
    pub key: String,
    /// What is wrong and what to write instead.
    pub text: String,
}

/// Everything that is wrong with one configuration, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    /// The file, if there is one.
    pub file: Option<String>,
    /// What is wrong; never empty.
    pub problems: Vec<Problem>,
}

impl Problems {
    /// One problem as a line: place, key, what to do.
    #[must_use]
    pub fn line(&self, problem: &Problem) -> String {
        let file = self.file.as_deref().unwrap_or("the configuration");
        let place = match &problem.place {
            Place::Line(line) => format!("{file}:{line}: "),
            Place::Variable(name) => format!("{name}: "),
            Place::Nowhere if self.file.is_some() => format!("{file}: "),
            Place::Nowhere => String::new(),
        };
        let key = if problem.key.is_empty() { String::new() } else { format!("{}: ", problem.key) };
        format!("{place}{key}{}", problem.text)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&self.line(problem))?;
        }
        Ok(())
    }
}

/// Collects problems while a configuration is read, so that one run tells all of them.
#[derive(Default)]
pub(crate) struct Report(RefCell<Vec<Problem>>);

impl Report {
    pub(crate) fn add(&self, place: &Place, key: impl Into<String>, text: impl Into<String>) {
        self.0.borrow_mut().push(Problem { place: place.clone(), key: key.into(), text: text.into() });
    }

    /// Whether nothing was wrong so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The problems in the order of the file, or `value` if there are none.
    pub(crate) fn finish<T>(self, file: Option<&str>, value: T) -> Result<T, Problems> {
        let mut problems = self.0.into_inner();
        if problems.is_empty() {
            return Ok(value);
        }
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        problems.dedup();
        Err(Problems { file: file.map(str::to_owned), problems })
    }
}
