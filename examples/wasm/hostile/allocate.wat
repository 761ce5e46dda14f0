;; A job that asks for memory without end and does not care about the answer: stopped at the limit.
(module
  (memory (export "memory") 1)
  (func (export "_start")
    (loop $more
      (drop (memory.grow (i32.const 16)))
      (br $more))))
