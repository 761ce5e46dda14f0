//! Gathers what SQLite writes to a WAL, so that many pages are one write to the file.
//!
//! SQLite writes a page to its WAL in two parts, each by a system call of its own: a tenth of what a node did under load
//! were these. This VFS passes everything to SQLite's own, but keeps what is written to a WAL, one behind the other, until
//! something else than the next write is asked of the file: above all the fsync that ends each transaction. Whatever
//! was kept is in the file before that is done; if it cannot be written, the failure is that operation's, and that of all
//! that follow: SQLite may go on after a failed write only where it knows which one it was.
//!
//! What must hold: each transaction is fsynced, to its last byte, before others may read it from the file. `database` asks
//! for that on every connection (`synchronous = FULL`); the disk leaves bytes beside those that are written as they are, as
//! SQLite assumes unless it is told otherwise (`psow`). One connection writes to a WAL. Files other than WALs are not
//! touched: a database file's pages are published by a checkpoint that asks nothing more of the file.

#![expect(unsafe_code, reason = "a VFS is a table of C functions")]

use rusqlite::ffi;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::slice;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};

const NAME: &CStr = c"jobraft";
/// What is kept, at most. SQLite's VFS for Unix takes less than 128 KiB at once.
const KEPT_BYTES_MAX: usize = 120 << 10;

/// The VFS that this one passes everything to.
static BELOW: AtomicPtr<ffi::sqlite3_vfs> = AtomicPtr::new(ptr::null_mut());

/// A WAL as SQLite sees it: this, and behind it the file of the VFS below.
#[repr(C)]
struct Wal {
    base: ffi::sqlite3_file,
    /// Where in the file `kept` belongs.
    at: ffi::sqlite3_int64,
    kept: Vec<u8>,
    /// Why something that was kept could not be written, for good.
    failed: c_int,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // The first: what came later is for database files.
    iVersion: 1,
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
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// The name of this VFS, which lies above the one that was the default when this was first asked for.
pub(super) fn vfs() -> &'static CStr {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: null asks for the default; SQLite answers a table that lives as long as the process.
        let below = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
        assert!(!below.is_null(), "SQLite is built with a VFS");
        BELOW.store(below, Ordering::Release);
        // SAFETY: not null, and written only by those who register another one meanwhile: nobody does. Its functions ask the
        // table that they are called with for `pAppData`, which the copy has too.
        let mut own = unsafe { *below };
        own.szOsFile += c_int::try_from(size_of::<Wal>()).expect("a few words");
        own.zName = NAME.as_ptr();
        own.pNext = ptr::null_mut();
        own.xOpen = Some(open);
        // SAFETY: leaked, and so alive for as long as SQLite may use it.
        let result = unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(own)), 0) };
        assert_eq!(result, ffi::SQLITE_OK, "SQLite takes a VFS");
    });
    NAME
}

/// The file of the VFS below.
fn below(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    file.cast::<Wal>().wrapping_add(1).cast()
}

/// Passes a call to the same method of the file below.
macro_rules! pass {
    ($method:ident, $file:expr $(, $argument:expr)*) => {
        // SAFETY: SQLite's own call, with SQLite's own arguments, on the file below, which is open: its methods are a table
        // that lives for ever, and has all of the first version.
        unsafe {
            let file = below($file);
            (*(*file).pMethods).$method.expect("every VFS has this method")(file $(, $argument)*)
        }
    };
}

/// The same once all that was kept is in the file.
macro_rules! pass_behind {
    ($method:ident, $file:expr $(, $argument:expr)*) => {
        // SAFETY: SQLite calls this with a WAL that it has open.
        match unsafe { write_kept($file) } {
            ffi::SQLITE_OK => pass!($method, $file $(, $argument)*),
            failed => failed,
        }
    };
}

/// Writes what was kept, unless that failed before.
///
/// # Safety
/// `file` is a [`Wal`] that is open, and nobody else uses it meanwhile.
unsafe fn write_kept(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: the caller's promise.
    let wal = unsafe { &mut *file.cast::<Wal>() };
    if wal.failed == ffi::SQLITE_OK && !wal.kept.is_empty() {
        let bytes = c_int::try_from(wal.kept.len()).expect("no more than KEPT_BYTES_MAX");
        wal.failed = pass!(xWrite, file, wal.kept.as_ptr().cast(), bytes, wal.at);
        wal.kept.clear();
    }
    wal.failed
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let vfs = BELOW.load(Ordering::Acquire);
    let open = |file| {
        // SAFETY: SQLite's own call, with a table that is the VFS's own, and at least as many bytes for the file as it needs.
        unsafe { (*vfs).xOpen.expect("every VFS opens")(vfs, name, file, flags, out_flags) }
    };
    if flags & ffi::SQLITE_OPEN_WAL == 0 {
        return open(file);
    }
    let methods = match open(below(file)) {
        ffi::SQLITE_OK => &raw const METHODS,
        failed => {
            // SAFETY: SQLite's bytes; without methods it does not close what could not be opened.
            unsafe { (*file).pMethods = ptr::null() };
            return failed;
        }
    };
    let base = ffi::sqlite3_file { pMethods: methods };
    let wal = Wal { base, at: 0, kept: Vec::new(), failed: ffi::SQLITE_OK };
    // SAFETY: SQLite gives `szOsFile` bytes, aligned for any of its structures, of which the first are a `Wal`'s.
    unsafe { ptr::write(file.cast(), wal) };
    ffi::SQLITE_OK
}

/// What is still kept belongs to a transaction that was rolled back: a commit would have ended with an fsync.
unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let closed = pass!(xClose, file);
    // SAFETY: SQLite closes a file once, and uses it no more.
    unsafe { ptr::drop_in_place(file.cast::<Wal>()) };
    closed
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    bytes: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    let length = usize::try_from(bytes).expect("SQLite writes no fewer bytes than none");
    // SAFETY: SQLite calls this with a WAL that it has open; the reference ends before anything else uses it.
    let goes_behind = unsafe {
        let wal = &*file.cast::<Wal>();
        let end = wal.at.saturating_add_unsigned(wal.kept.len() as u64);
        wal.failed == ffi::SQLITE_OK && end == at && wal.kept.len() + length <= KEPT_BYTES_MAX
    };
    if !goes_behind {
        // SAFETY: as above.
        let written = unsafe { write_kept(file) };
        if written != ffi::SQLITE_OK {
            return written;
        }
    }
    if length > KEPT_BYTES_MAX {
        return pass!(xWrite, file, from, bytes, at);
    }
    // SAFETY: as above.
    let wal = unsafe { &mut *file.cast::<Wal>() };
    if wal.kept.is_empty() {
        wal.at = at;
        wal.kept.reserve_exact(KEPT_BYTES_MAX);
    }
    // SAFETY: SQLite gives so many bytes.
    wal.kept.extend_from_slice(unsafe { slice::from_raw_parts(from.cast::<u8>(), length) });
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    to: *mut c_void,
    bytes: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    pass_behind!(xRead, file, to, bytes, at)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, bytes: ffi::sqlite3_int64) -> c_int {
    pass_behind!(xTruncate, file, bytes)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    pass_behind!(xSync, file, flags)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, bytes: *mut ffi::sqlite3_int64) -> c_int {
    pass_behind!(xFileSize, file, bytes)
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    pass_behind!(xLock, file, level)
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    pass_behind!(xUnlock, file, level)
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    pass_behind!(xCheckReservedLock, file, out)
}

unsafe extern "C" fn file_control(file: *mut ffi::sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    pass_behind!(xFileControl, file, operation, argument)
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    pass!(xSectorSize, file)
}

unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    pass!(xDeviceCharacteristics, file)
}
