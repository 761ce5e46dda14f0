;; A job that writes 1 GB to stdout, 64 KiB at a time: stopped at the limit of a result.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  ;; One buffer: 64 KiB from address 65,536.
  (data (i32.const 0) "\00\00\01\00\00\00\01\00")
  (func (export "_start") (local $left i32)
    (local.set $left (i32.const 16384))
    (loop $more
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))))
