# A guest that does not answer its power button and writes to its disk without end: a sector of another qcow2 cluster
# at each tick of the timer, 18 times a second. It says that it is up with the words by which cloud-init ends a boot.

        .code16
        .globl  _start
        .set    COM1, 0x3f8
        .set    CLUSTER, 128            # sectors, that is 64 KiB

_start: xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        cli
        movw    %ax, %ss
        movw    $0x7c00, %sp
        sti
        ljmp    $0, $main

main:   movb    %dl, drive
        movw    $ready, %si
1:      lodsb
        testb   %al, %al
        jz      write
        movb    %al, %bl
        movw    $COM1 + 5, %dx
2:      inb     %dx, %al
        testb   $0x20, %al
        jz      2b
        movb    %bl, %al
        movw    $COM1, %dx
        outb    %al, %dx
        jmp     1b

write:  hlt                             # until the next tick
        movw    $0x4300, %ax
        movb    drive, %dl
        movw    $packet, %si
        int     $0x13
        addl    $CLUSTER, sector
        jmp     write

ready:  .asciz  "Cloud-init v. 0 (stubborn) finished at once.\r\n"
drive:  .byte   0

        .balign 4
packet: .byte   16, 0                   # for int 0x13: one sector, of this code, to `sector`
        .word   1, 0x7c00, 0
sector: .long   CLUSTER, 0

        .org    510
        .word   0xaa55
