;; A job that never ends: stopped when its run timeout or its lease is over.
(module
  (memory (export "memory") 1)
  (func (export "_start")
    (loop $forever (br $forever))))
