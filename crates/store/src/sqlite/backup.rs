//! A copy of a store file that is in use.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use countersign::store::{StoreError, StoreResult};
use rusqlite::{Connection, OpenFlags};

use super::make_private;

/// Copies a file as it stands at one instant, while others read and write it; the copy is its owner's alone, on the disk, and needs
/// no log beside it. Gives its size in bytes.
///
/// # Errors
/// [`StoreError::Inconsistent`] if there is something at `to`, which is never overwritten; [`StoreError::Unavailable`] if `from`
/// cannot be read or `to` cannot be written.
pub fn back_up(from: &Path, to: &Path) -> StoreResult<u64> {
    let taken = || StoreError::Inconsistent(format!("{} is there already; name another file", to.display()));
    if fs::symlink_metadata(to).is_ok() {
        return Err(taken());
    }
    // Under another name until it is whole: an interrupted copy must not look like a backup.
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    if let Err(error) = fs::remove_file(part)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(cannot(part, &error));
    }
    make_private(part)?;
    let copied = copy(from, part).and_then(|size| match fs::hard_link(part, to) {
        Ok(()) => Ok(size),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(taken()),
        Err(error) => Err(cannot(to, &error)),
    });
    let _ = fs::remove_file(part);
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    // The name too is on the disk before anybody relies on it; not every system lets a folder be synced.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    copied
}

fn copy(from: &Path, part: &Path) -> StoreResult<u64> {
    let broken = |error: rusqlite::Error| StoreError::Unavailable(format!("{}: {error}", from.display()));
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(from, flags).map_err(broken)?;
    connection.busy_timeout(Duration::from_secs(30)).map_err(broken)?;
    connection.execute("VACUUM INTO ?1", [part.to_string_lossy()]).map_err(broken)?;
    let file = File::options().write(true).open(part).map_err(|error| cannot(part, &error))?;
    file.sync_all().and_then(|()| file.metadata()).map(|data| data.len()).map_err(|error| cannot(part, &error))
}

fn cannot(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}
