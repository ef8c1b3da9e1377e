//! Whether the file that is open is still the one at its path.

use std::path::{Path, PathBuf};

use countersign::store::StoreError;

/// Where the file was when it was opened.
///
/// A file that is deleted, moved or replaced under an open connection would go on being written, and what was answered would be gone
/// with the next start; and whoever opens the path anew would play our log into another file. So it counts as out of reach until it
/// is back.
#[derive(Clone, Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// `None` where files have no number that tells them apart.
    file: Option<FileNumber>,
}

/// The device and the file's number on it.
type FileNumber = (u64, u64);

impl Place {
    /// The place of a file that was just opened.
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), file: number(path) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is still there.
    pub(super) fn is_there(&self) -> bool {
        self.file == number(&self.path)
    }

    /// What to say when it is not.
    pub(super) fn gone(&self) -> StoreError {
        let path = self.path.display();
        StoreError::Unavailable(format!("{path} was deleted, moved or replaced; put it back, or restart"))
    }
}

#[cfg(unix)]
fn number(path: &Path) -> Option<FileNumber> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

#[cfg(not(unix))]
const fn number(_: &Path) -> Option<FileNumber> {
    None
}
