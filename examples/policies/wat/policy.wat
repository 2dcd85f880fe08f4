;; Only the user `migrations` may change the schema.
;;
;; The interface is wit/policy.wit; a module imports and exports its functions by
;; `package/interface@version` and name, with strings as a pointer and a length.
(module
  (import "portcullis:policy/setup@0.1.0" "intern"
    (func $intern (param i32 i32) (result i32)))
  (import "portcullis:policy/client@0.1.0" "user"
    (func $user (result i32)))
  (import "portcullis:policy/verdict@0.1.0" "reason"
    (func $reason (param i32 i32 i32 i32 i32 i32)))

  (memory (export "memory") 1)
  (data (i32.const 16) "migrations")
  (data (i32.const 32) "schema")
  (data (i32.const 64) "the schema may not be changed here")
  (data (i32.const 128) "Put the change into a migration.")
  ;; What `configure` returns: a tag byte of 0 says that nothing is wrong.
  (data (i32.const 1024) "\00\00\00\00\00\00\00\00\00\00\00\00")

  ;; The host puts strings where this says. Nothing is ever given back: the
  ;; settings come once, and this policy asks for no other string.
  (global $free (mut i32) (i32.const 8192))
  (func (export "cabi_realloc") (param $old i32) (param $had i32) (param $align i32) (param $size i32)
    (result i32)
    (local $at i32)
    (local.set $at
      (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    ;; More pages where one does not hold the settings; a trap where there are none.
    (block $fits
      (loop $more
        (br_if $fits
          (i32.le_u (global.get $free) (i32.shl (memory.size) (i32.const 16))))
        (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))
        unreachable))
    (local.get $at))

  (global $migrations (mut i32) (i32.const 0))

  ;; Names become numbers once; asking for one again costs no string.
  (func (export "portcullis:policy/policy@0.1.0#configure")
    (param $settings i32) (param $length i32) (result i32)
    (global.set $migrations (call $intern (i32.const 16) (i32.const 10)))
    (i32.const 1024))

  ;; 0 passes, 1 refuses. The effect `schema` is 4, see docs/registry.md.
  (func (export "portcullis:policy/policy@0.1.0#judge")
    (param $kind i32) (param $effects i64) (param $traits i64) (result i32)
    (if (i64.eqz (i64.and (local.get $effects) (i64.const 4)))
      (then (return (i32.const 0))))
    (if (i32.eq (call $user) (global.get $migrations))
      (then (return (i32.const 0))))
    (call $reason
      (i32.const 32) (i32.const 6)
      (i32.const 64) (i32.const 34)
      (i32.const 128) (i32.const 32))
    (i32.const 1)))
