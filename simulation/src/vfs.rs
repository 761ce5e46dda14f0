//! SQLite's way to the disk, through a [`Disk`](crate::disk::Disk).
//!
//! A VFS that passes everything to SQLite's own for Unix, but first asks the disk that a file lies on: what was written
//! is noted, an fsync is believed by the disk alone (none reaches the machine's), and faults come back as the
//! machine would give them. Files on no such disk pass untouched.
//!
//! The index of the WAL (`-shm`) is shared memory and no disk: it passes too, as a mapped file, and a crash loses it.
//! Sectors and atomicity are declared as SQLite assumes them of any modern disk: bytes beside those that are written
//! stay as they are (`SQLITE_IOCAP_POWERSAFE_OVERWRITE`), and nothing else is promised.

#![expect(unsafe_code, reason = "a VFS is a table of C functions")]

use crate::disk::{self, Handle, Refusal};
use rusqlite::ffi;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::slice;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

const NAME: &CStr = c"jobraft-simulation";
const SECTOR_BYTES: c_int = 4096;

/// SQLite's own VFS.
static UNIX: AtomicPtr<ffi::sqlite3_vfs> = AtomicPtr::new(ptr::null_mut());
/// From what SQLite's generator of random numbers is seeded: the salts of its WALs come from it.
static SEED: AtomicU64 = AtomicU64::new(0);

/// A file as SQLite sees it: this, and behind it the file of the VFS below.
#[repr(C)]
struct ShimFile {
    base: ffi::sqlite3_file,
    /// Null for a file on no disk.
    handle: *mut Handle,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // The second: with shared memory, without mapped files, whose writes nobody would see.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Makes this the VFS of every database that the process opens from now on. Calls after the first do nothing.
///
/// # Panics
/// If SQLite has no VFS for Unix, or takes no other.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: a name that ends in NUL; SQLite answers a table that lives as long as the process.
        let unix = unsafe { ffi::sqlite3_vfs_find(c"unix".as_ptr()) };
        assert!(!unix.is_null(), "SQLite has a VFS for Unix");
        UNIX.store(unix, Ordering::Release);
        // SAFETY: not null, and never written after SQLite is initialized. Its functions ask the table that they are
        // called with for `pAppData`, which the copy has too.
        let mut shim = unsafe { *unix };
        let own_bytes = c_int::try_from(size_of::<ShimFile>()).expect("a few words");
        shim.szOsFile += own_bytes;
        shim.zName = NAME.as_ptr();
        shim.pNext = ptr::null_mut();
        shim.xOpen = Some(open);
        shim.xDelete = Some(delete);
        shim.xRandomness = Some(randomness);
        // SAFETY: leaked, and so alive for as long as SQLite may use it.
        let result = unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(shim)), 1) };
        assert_eq!(result, ffi::SQLITE_OK, "SQLite takes a VFS");
    });
}

/// Starts SQLite's generator of random numbers anew, so that a run writes the same bytes as the last one with that seed.
pub fn seed(seed: u64) {
    SEED.store(seed, Ordering::Release);
    // SAFETY: no bytes are asked for; that resets the generator, under a lock of SQLite's own.
    unsafe { ffi::sqlite3_randomness(0, ptr::null_mut()) };
}

fn unix() -> *mut ffi::sqlite3_vfs {
    UNIX.load(Ordering::Acquire)
}

/// The file of the VFS below.
fn below(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    file.cast::<ShimFile>().wrapping_add(1).cast()
}

/// The methods of the file below, which is open.
unsafe fn methods(file: *mut ffi::sqlite3_file) -> &'static ffi::sqlite3_io_methods {
    // SAFETY: an open file of this VFS has an open one below, whose methods are a table that lives for ever.
    unsafe { &*(*below(file)).pMethods }
}

/// The disk's side of the file.
unsafe fn handle<'a>(file: *mut ffi::sqlite3_file) -> Option<&'a Handle> {
    // SAFETY: an open file of this VFS begins with a `ShimFile`, whose handle lives until it is closed.
    unsafe { (*file.cast::<ShimFile>()).handle.as_ref() }
}

/// SQLite's number for a refusal, of the kind of operation that was refused.
fn code(refusal: Refusal, operation: c_int) -> c_int {
    match refusal {
        Refusal::Full => ffi::SQLITE_FULL,
        Refusal::Failed => operation,
    }
}

/// Refuses an operation on a handle of a former life, or of a disk without power.
macro_rules! refuse_the_dead {
    ($file:expr, $operation:expr) => {
        // SAFETY: SQLite calls this with a file that it has open.
        if unsafe { handle($file) }.is_some_and(Handle::is_dead) {
            return $operation;
        }
    };
}

/// Passes a call to the same method of the file below.
macro_rules! pass {
    ($method:ident, $file:expr $(, $argument:expr)*) => {
        // SAFETY: SQLite's own call, with SQLite's own arguments, on the file below; its methods have all of version 2.
        unsafe { methods($file).$method.expect("the VFS below has every method")(below($file) $(, $argument)*) }
    };
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let shim = file.cast::<ShimFile>();
    // SAFETY: SQLite gives `szOsFile` bytes, of which the first are a `ShimFile`'s.
    unsafe {
        ptr::write(shim, ShimFile { base: ffi::sqlite3_file { pMethods: ptr::null() }, handle: ptr::null_mut() })
    };
    // SAFETY: a name, if there is one, ends in NUL.
    let path = (!name.is_null()).then(|| Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes())));
    let disk = path.and_then(disk::holding);
    let opening = match (&disk, path) {
        (Some(disk), Some(path)) => match disk.open(path, flags & ffi::SQLITE_OPEN_CREATE != 0) {
            Ok(opening) => Some((path, opening)),
            Err(_) => return ffi::SQLITE_CANTOPEN,
        },
        _ => None,
    };
    let writable = ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE;
    let flags = match &opening {
        Some((_, opening)) if opening.read_only => flags & !writable | ffi::SQLITE_OPEN_READONLY,
        _ => flags,
    };
    // SAFETY: SQLite's own call, with a table that is the VFS's own.
    let result = unsafe { (*unix()).xOpen.expect("a VFS opens")(unix(), name, below(file), flags, out_flags) };
    if result != ffi::SQLITE_OK {
        return result;
    }
    let handle = match opening {
        None => ptr::null_mut(),
        Some((path, opening)) => match opening.handle(path) {
            Ok(handle) => Box::into_raw(Box::new(handle)),
            Err(_) => {
                pass!(xClose, file);
                return ffi::SQLITE_CANTOPEN;
            }
        },
    };
    // SAFETY: written above, and nobody else has it yet.
    unsafe { ptr::write(shim, ShimFile { base: ffi::sqlite3_file { pMethods: &raw const METHODS }, handle }) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let result = pass!(xClose, file);
    // SAFETY: SQLite closes a file once, and uses it no more.
    let handle = unsafe { (*file.cast::<ShimFile>()).handle };
    if !handle.is_null() {
        // SAFETY: made by `Box::into_raw` when the file was opened.
        drop(unsafe { Box::from_raw(handle) });
    }
    result
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    to: *mut c_void,
    bytes: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    refuse_the_dead!(file, ffi::SQLITE_IOERR_READ);
    pass!(xRead, file, to, bytes, at)
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    bytes: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite calls this with a file that it has open.
    let Some(handle) = (unsafe { handle(file) }) else { return pass!(xWrite, file, from, bytes, at) };
    let length = usize::try_from(bytes).expect("SQLite writes no fewer bytes than none");
    // SAFETY: SQLite gives so many bytes.
    let data = unsafe { slice::from_raw_parts(from.cast::<u8>(), length) };
    let mut result = ffi::SQLITE_OK;
    let taken = handle.write(at.cast_unsigned(), data, |part| {
        let bytes = c_int::try_from(part.len()).expect("no longer than the whole");
        result = pass!(xWrite, file, part.as_ptr().cast(), bytes, at);
        result == ffi::SQLITE_OK
    });
    taken.map_or_else(|refusal| code(refusal, ffi::SQLITE_IOERR_WRITE), |()| result)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, bytes: ffi::sqlite3_int64) -> c_int {
    // SAFETY: SQLite calls this with a file that it has open.
    let Some(handle) = (unsafe { handle(file) }) else { return pass!(xTruncate, file, bytes) };
    let mut result = ffi::SQLITE_OK;
    let taken = handle.truncate(bytes.cast_unsigned(), || {
        result = pass!(xTruncate, file, bytes);
        result == ffi::SQLITE_OK
    });
    taken.map_or_else(|refusal| code(refusal, ffi::SQLITE_IOERR_TRUNCATE), |()| result)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: SQLite calls this with a file that it has open.
    let Some(handle) = (unsafe { handle(file) }) else { return pass!(xSync, file, flags) };
    handle.sync().map_or_else(|refusal| code(refusal, ffi::SQLITE_IOERR_FSYNC), |()| ffi::SQLITE_OK)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, bytes: *mut ffi::sqlite3_int64) -> c_int {
    refuse_the_dead!(file, ffi::SQLITE_IOERR_FSTAT);
    pass!(xFileSize, file, bytes)
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    refuse_the_dead!(file, ffi::SQLITE_IOERR_LOCK);
    pass!(xLock, file, level)
}

// Given back by the dead too: else they would hold up whoever shares their files.
unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    pass!(xUnlock, file, level)
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    refuse_the_dead!(file, ffi::SQLITE_IOERR_CHECKRESERVEDLOCK);
    pass!(xCheckReservedLock, file, out)
}

unsafe extern "C" fn file_control(file: *mut ffi::sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    pass!(xFileControl, file, operation, argument)
}

unsafe extern "C" fn sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    SECTOR_BYTES
}

unsafe extern "C" fn device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    bytes: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    refuse_the_dead!(file, ffi::SQLITE_IOERR_SHMMAP);
    pass!(xShmMap, file, region, bytes, extend, out)
}

unsafe extern "C" fn shm_lock(file: *mut ffi::sqlite3_file, offset: c_int, count: c_int, flags: c_int) -> c_int {
    if flags & ffi::SQLITE_SHM_LOCK != 0 {
        refuse_the_dead!(file, ffi::SQLITE_IOERR_SHMLOCK);
    }
    pass!(xShmLock, file, offset, count, flags)
}

unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    pass!(xShmBarrier, file);
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, delete: c_int) -> c_int {
    // SAFETY: SQLite calls this with a file that it has open.
    let is_dead = unsafe { handle(file) }.is_some_and(Handle::is_dead);
    // By name: under it may lie the index of those who came after.
    let delete = if is_dead { 0 } else { delete };
    pass!(xShmUnmap, file, delete)
}

unsafe extern "C" fn delete(_vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync_directory: c_int) -> c_int {
    // SAFETY: a name ends in NUL.
    let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()));
    let Some(disk) = disk::holding(path) else {
        // SAFETY: SQLite's own call, with a table that is the VFS's own.
        return unsafe { (*unix()).xDelete.expect("a VFS deletes")(unix(), name, sync_directory) };
    };
    let mut result = ffi::SQLITE_OK;
    let taken = disk.delete(path, || {
        // SAFETY: as above.
        result = unsafe { (*unix()).xDelete.expect("a VFS deletes")(unix(), name, 0) };
    });
    taken.map_or_else(|refusal| code(refusal, ffi::SQLITE_IOERR_DELETE), |()| result)
}

unsafe extern "C" fn randomness(_vfs: *mut ffi::sqlite3_vfs, bytes: c_int, to: *mut c_char) -> c_int {
    let length = usize::try_from(bytes).unwrap_or(0);
    // SAFETY: SQLite gives so many bytes.
    let to = unsafe { slice::from_raw_parts_mut(to.cast::<u8>(), length) };
    for chunk in to.chunks_mut(8) {
        // SplitMix64: any seed gives numbers that look like nothing.
        let mut z = SEED.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::AcqRel).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
    }
    bytes
}
