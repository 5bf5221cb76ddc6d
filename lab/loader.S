# Starts a Linux kernel from bare sectors. BIOS loads this sector to 0x7c00; the table of what lies where on the disk,
# and goes where in memory, is filled in by loader.py, which also writes into the kernel's own header what a boot
# loader must: https://docs.kernel.org/arch/x86/boot.html
#
# GRUB would do, but moves a kernel with all its room for unpacking byte by byte, which takes seconds under emulation.

        .code16
        .globl  _start
        .set    COM1, 0x3f8
        .set    buffer, 0x1000          # its segment
        .set    PIECE, 64               # sectors, that is 32 KiB
        .set    setup, 0x9000           # the segment of the kernel's part for real mode
        .set    SETUP_STACK, 0xe000

_start: xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        cli
        movw    %ax, %ss
        movw    $0x7c00, %sp
        sti
        cld
        ljmp    $0, $main

main:   movw    $table, %bp             # 0: next sector on the disk, 4: sectors to go, 8: next address in memory
load:   movl    4(%bp), %ecx
        testl   %ecx, %ecx
        jz      run
piece:  cmpl    $PIECE, %ecx
        jbe     1f
        movl    $PIECE, %ecx
1:      movw    %cx, count
        movl    (%bp), %eax
        movl    %eax, from
        movb    $0x42, %ah              # read into the buffer, from the disk that BIOS left in %dl
        movw    $packet, %si
        int     $0x13
        jc      failed
        movl    8(%bp), %eax
        movw    %ax, to_low
        shrl    $16, %eax
        movb    %al, to_middle
        movb    %ah, to_high
        pushw   %cx
        shlw    $8, %cx                 # words
        movb    $0x87, %ah              # and move it up
        movw    $moves, %si
        int     $0x15
        popw    %cx
        jc      failed
        addl    %ecx, (%bp)
        subl    %ecx, 4(%bp)
        shll    $9, %ecx
        addl    %ecx, 8(%bp)
        movl    4(%bp), %ecx
        testl   %ecx, %ecx
        jnz     piece
        addw    $12, %bp
        jmp     load

run:    cli
        movw    $setup, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %fs
        movw    %ax, %gs
        movw    %ax, %ss
        movw    $SETUP_STACK, %sp
        ljmp    $setup + 0x20, $0

failed: movw    $message, %si
        movw    $COM1, %dx
1:      lodsb
        outb    %al, %dx
        testb   %al, %al
        jnz     1b
2:      hlt
        jmp     2b

message: .asciz "The disk cannot be read.\r\n"

        .balign 4
packet: .byte   16, 0                   # for int 0x13
count:  .word   0
        .word   0, buffer
from:   .quad   0

moves:  .quad   0, 0                    # for int 0x15: descriptors, as of a GDT; the source's and the target's are ours
        .word   0xffff, (buffer << 4) & 0xffff
        .byte   buffer >> 12, 0x93, 0, 0
        .word   0xffff
to_low: .word   0
to_middle: .byte 0
        .byte   0x93, 0
to_high: .byte  0
        .quad   0, 0

        .org    384
table:  .fill   446 - 384, 1, 0
        .org    510
        .word   0xaa55
