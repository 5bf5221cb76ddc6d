# The smallest guest there is: one sector, which BIOS loads to 0x7c00 and runs in real mode.
#
# It counts its starts in the sector after it, so that a disk remembers something; says so on COM1, with the words by
# which cloud-init ends a boot; and turns the machine off when the ACPI power button is pressed.
# Ports are those of QEMU's q35 with SeaBIOS: ACPI's PM1a registers at 0x600, COM1 at 0x3f8.

        .code16
        .globl  _start
        .set    COM1, 0x3f8
        .set    PM1_STATUS, 0x600
        .set    PM1_ENABLE, 0x602
        .set    PM1_CONTROL, 0x604
        .set    POWER_BUTTON, 0x100
        .set    SLEEP_S5, 0x2000
        .set    counter, 0x8000

_start: xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        cli
        movw    %ax, %ss
        movw    $0x7c00, %sp
        sti
        ljmp    $0, $main

main:   movw    $0x4200, %ax            # read the counter, with the disk that BIOS left in %dl
        movw    $packet, %si
        int     $0x13
        incw    counter
        movw    $0x4300, %ax            # and write it back
        movw    $packet, %si
        int     $0x13

        movw    $ready, %si
        call    say
        movw    counter, %bx
        call    say_hex
        movw    $newline, %si
        call    say

        movw    $POWER_BUTTON, %ax      # a button pressed before counts no more
        movw    $PM1_STATUS, %dx
        outw    %ax, %dx
        movw    $PM1_ENABLE, %dx
        outw    %ax, %dx
idle:   hlt                             # until the next tick of the timer, 18 times a second
        movw    $PM1_STATUS, %dx
        inw     %dx, %ax
        testw   $POWER_BUTTON, %ax
        jz      idle
        movw    $goodbye, %si
        call    say
        movw    $SLEEP_S5, %ax
        movw    $PM1_CONTROL, %dx
        outw    %ax, %dx
        jmp     idle

say:    lodsb                           # the text at %si, up to its NUL
        testb   %al, %al
        jz      1f
        call    put
        jmp     say
1:      ret

say_hex: movw   $4, %cx                 # the number in %bx
1:      rolw    $4, %bx
        movb    %bl, %al
        andb    $0x0f, %al
        cmpb    $10, %al
        sbbb    $0x69, %al              # an old trick: 0 to 15 in %al becomes its hexadecimal digit
        das
        call    put
        loop    1b
        ret

put:    pushw   %ax                     # the character in %al, once the port has sent the last
        movw    $COM1 + 5, %dx
1:      inb     %dx, %al
        testb   $0x20, %al
        jz      1b
        popw    %ax
        movw    $COM1, %dx
        outb    %al, %dx
        ret

ready:  .asciz  "Cloud-init v. 0 (boot sector) finished at start 0x"
newline: .asciz ".\r\n"
goodbye: .asciz "The power button was pressed.\r\n"

        .balign 4
packet: .byte   16, 0                   # for int 0x13: one sector from LBA 1 to 0:counter
        .word   1, counter, 0
        .quad   1

        .org    510
        .word   0xaa55
