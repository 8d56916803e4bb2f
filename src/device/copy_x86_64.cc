// The loops under copy() and zero(), in assembly so that it is known which instructions may fault.
//
// None of them touches the stack: wherever one faults, a jump to its `_failed` label and a plain return bring the
// caller back. That pair of addresses (bounds, landing) is what the signal handler needs to know, and all of it.
//
// The AVX loops take the destination in whole aligned vectors; head and tail are unaligned vectors that may overlap the
// middle. Both were measured against memcpy: equal or faster from 64 bytes to 8 MiB, and no non-temporal stores, which
// memcpy does not use at these lengths either. A CPU without AVX uses `rep movsb`.
#include "device/copy_loops.h"

#if !defined(__x86_64__)
#error "copy_loops.h needs an implementation for this architecture"
#endif

asm(R"(
  .pushsection .text
  .balign 64
  .hidden hf_copy_avx
  .globl hf_copy_avx
  .type hf_copy_avx, @function
hf_copy_avx:                      # rdi to, rsi from, rdx length
  .cfi_startproc
  cmpq $128, %rdx
  ja 5f
  cmpq $64, %rdx
  jae 4f
  cmpq $32, %rdx
  jae 3f
  cmpq $16, %rdx
  jae 2f
  cmpl $8, %edx
  jae 1f
  cmpl $4, %edx
  jae 6f
  testl %edx, %edx
  je 9f
  movzbl (%rsi), %eax             # 1 to 3 bytes: first, middle, last
  movl %edx, %ecx
  shrl $1, %ecx
  movzbl (%rsi,%rcx), %r8d
  movzbl -1(%rsi,%rdx), %r9d
  movb %al, (%rdi)
  movb %r8b, (%rdi,%rcx)
  movb %r9b, -1(%rdi,%rdx)
9:
  xorl %eax, %eax
  ret
6:                                # 4 to 7
  movl (%rsi), %eax
  movl -4(%rsi,%rdx), %ecx
  movl %eax, (%rdi)
  movl %ecx, -4(%rdi,%rdx)
  xorl %eax, %eax
  ret
1:                                # 8 to 15
  movq (%rsi), %rax
  movq -8(%rsi,%rdx), %rcx
  movq %rax, (%rdi)
  movq %rcx, -8(%rdi,%rdx)
  xorl %eax, %eax
  ret
2:                                # 16 to 31
  vmovdqu (%rsi), %xmm0
  vmovdqu -16(%rsi,%rdx), %xmm1
  vmovdqu %xmm0, (%rdi)
  vmovdqu %xmm1, -16(%rdi,%rdx)
  xorl %eax, %eax
  ret
3:                                # 32 to 63
  vmovdqu (%rsi), %ymm0
  vmovdqu -32(%rsi,%rdx), %ymm1
  vmovdqu %ymm0, (%rdi)
  vmovdqu %ymm1, -32(%rdi,%rdx)
  vzeroupper
  xorl %eax, %eax
  ret
4:                                # 64 to 128
  vmovdqu (%rsi), %ymm0
  vmovdqu 32(%rsi), %ymm1
  vmovdqu -64(%rsi,%rdx), %ymm2
  vmovdqu -32(%rsi,%rdx), %ymm3
  vmovdqu %ymm0, (%rdi)
  vmovdqu %ymm1, 32(%rdi)
  vmovdqu %ymm2, -64(%rdi,%rdx)
  vmovdqu %ymm3, -32(%rdi,%rdx)
  vzeroupper
  xorl %eax, %eax
  ret
5:                                # more: head vector, aligned middle, last 128 bytes
  vmovdqu (%rsi), %ymm4
  vmovdqu -128(%rsi,%rdx), %ymm5
  vmovdqu -96(%rsi,%rdx), %ymm6
  vmovdqu -64(%rsi,%rdx), %ymm7
  vmovdqu -32(%rsi,%rdx), %ymm8
  leaq -128(%rdi,%rdx), %r8       # where the last 128 bytes go
  leaq 32(%rdi), %rcx
  andq $-32, %rcx
  subq %rdi, %rsi                 # from here on: source = destination + rsi
  vmovdqu %ymm4, (%rdi)
  cmpq %r8, %rcx
  jae 8f
  addq %rcx, %rsi
  .balign 32
7:
  vmovdqu (%rsi), %ymm0
  vmovdqu 32(%rsi), %ymm1
  vmovdqu 64(%rsi), %ymm2
  vmovdqu 96(%rsi), %ymm3
  vmovdqa %ymm0, (%rcx)
  vmovdqa %ymm1, 32(%rcx)
  vmovdqa %ymm2, 64(%rcx)
  vmovdqa %ymm3, 96(%rcx)
  subq $-128, %rsi
  subq $-128, %rcx
  cmpq %r8, %rcx
  jb 7b
8:
  vmovdqu %ymm5, (%r8)
  vmovdqu %ymm6, 32(%r8)
  vmovdqu %ymm7, 64(%r8)
  vmovdqu %ymm8, 96(%r8)
  vzeroupper
  xorl %eax, %eax
  ret
  .cfi_endproc
  .size hf_copy_avx, . - hf_copy_avx

  .balign 64
  .hidden hf_zero_avx
  .globl hf_zero_avx
  .type hf_zero_avx, @function
hf_zero_avx:                      # rdi to, rsi length
  .cfi_startproc
  vpxor %xmm0, %xmm0, %xmm0
  xorl %eax, %eax
  cmpq $32, %rsi
  jae 3f
  cmpl $16, %esi
  jae 2f
  movl %esi, %ecx                 # fewer than 16: short enough for the string instruction's slow start
  rep stosb
  ret
2:
  vmovdqu %xmm0, (%rdi)
  vmovdqu %xmm0, -16(%rdi,%rsi)
  ret
3:
  leaq -32(%rdi,%rsi), %r8        # where the last vector goes
  leaq 32(%rdi), %rcx
  andq $-32, %rcx
  vmovdqu %ymm0, (%rdi)
  leaq -96(%r8), %r9              # where the last group of four may begin
  cmpq %r9, %rcx
  ja 5f
  .balign 32
4:
  vmovdqa %ymm0, (%rcx)
  vmovdqa %ymm0, 32(%rcx)
  vmovdqa %ymm0, 64(%rcx)
  vmovdqa %ymm0, 96(%rcx)
  subq $-128, %rcx
  cmpq %r9, %rcx
  jbe 4b
5:
  cmpq %r8, %rcx                  # fewer than three whole vectors before the last are left
  jae 7f
6:
  vmovdqa %ymm0, (%rcx)
  addq $32, %rcx
  cmpq %r8, %rcx
  jb 6b
7:
  vmovdqu %ymm0, (%r8)
  vzeroupper
  ret
  .cfi_endproc
  .size hf_zero_avx, . - hf_zero_avx

  .hidden hf_avx_loops_failed
  .globl hf_avx_loops_failed
  .type hf_avx_loops_failed, @function
hf_avx_loops_failed:              # ends the range that begins at hf_copy_avx
  .cfi_startproc
  vzeroupper
  movl $1, %eax
  ret
  .cfi_endproc
  .size hf_avx_loops_failed, . - hf_avx_loops_failed

  .balign 16
  .hidden hf_copy_string
  .globl hf_copy_string
  .type hf_copy_string, @function
hf_copy_string:                   # rdi to, rsi from, rdx length
  .cfi_startproc
  movq %rdx, %rcx
  rep movsb
  xorl %eax, %eax
  ret
  .cfi_endproc
  .size hf_copy_string, . - hf_copy_string

  .hidden hf_zero_string
  .globl hf_zero_string
  .type hf_zero_string, @function
hf_zero_string:                   # rdi to, rsi length
  .cfi_startproc
  movq %rsi, %rcx
  xorl %eax, %eax
  rep stosb
  ret
  .cfi_endproc
  .size hf_zero_string, . - hf_zero_string

  .hidden hf_string_loops_failed
  .globl hf_string_loops_failed
  .type hf_string_loops_failed, @function
hf_string_loops_failed:           # ends the range that begins at hf_copy_string
  .cfi_startproc
  movl $1, %eax
  ret
  .cfi_endproc
  .size hf_string_loops_failed, . - hf_string_loops_failed
  .popsection
)");
