"""What a payload tries from inside its container. A script prints ESCAPED for whatever it should not have managed."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.escape.cell import Cell

# try COMMAND...: the command must fail. marked: every line of the input is an escape.
PRELUDE = """
export LC_ALL=C
try() { "$@" >/dev/null 2>&1 && echo "ESCAPED: $*"; }
marked() { sed 's/^/ESCAPED: /'; }
"""
TRIED = "\necho tried\n"

MOUNT_GROUPS = """
perl -e '
    my %mount = (x86_64 => 165, aarch64 => 40);
    chomp(my $machine = `uname -m`);
    my $user_mount_and_cgroup = 0x10000000 | 0x20000 | 0x2000000;
    my $child = syscall(435, pack("Q8", $user_mount_and_cgroup, 0, 0, 0, 17, 0, 0, 0), 64);  # clone3
    if ($child == 0) {
        my ($none, $place, $type) = ("none", "/tmp", "cgroup2");
        print "ESCAPED: mounted\\n" if syscall($mount{$machine} // exit, $none, $place, $type, 0, 0) == 0;
        exit;
    }
    wait;
'
"""
CALLS = """
perl -e '
    chomp(my $machine = `uname -m`);
    my %numbers = (
        x86_64 => {keyctl => 250, bpf => 321, userfaultfd => 323, syslog => 103, clone => 56, perf_event_open => 298},
        aarch64 => {keyctl => 219, bpf => 280, userfaultfd => 282, syslog => 116, clone => 220, perf_event_open => 241},
    );
    my %arguments = (keyctl => [0, -3, 1], bpf => [0, 0, 0], userfaultfd => [0], syslog => [10, 0, 0],
        clone => [0x10000000 | 17, 0, 0, 0, 0], perf_event_open => [0, 0, 0, 0, 0], io_uring_setup => [0, 0]);
    my %here = (%{$numbers{$machine} // {}}, io_uring_setup => 425);
    for my $name (sort keys %here) {
        my $answer = syscall($here{$name}, map { $_ + 0 } @{$arguments{$name}});
        exit if $name eq "clone" and $answer == 0;
        print "ESCAPED: $name $answer $!\\n" unless $answer == -1 and $! == 1;
    }
'
"""
# Processes of the host by their numbers there; one that has such a number in here is the container's own.
TRACE = """
perl -e '
    chomp(my $machine = `uname -m`);
    my %numbers = (
        x86_64 => {ptrace => 101, process_vm_readv => 310, process_vm_writev => 311, kcmp => 312},
        aarch64 => {ptrace => 117, process_vm_readv => 270, process_vm_writev => 271, kcmp => 272},
    );
    my ($here, $place) = ($numbers{$machine} // exit, pack("JJ", 4096, 8));
    for my $pid (grep { not -e "/proc/$_" } split / /, $ENV{OTHERS}) {
        my %answers = (kill => kill(0, $pid) - 1, open => (open(my $memory, "<", "/proc/$pid/mem") ? 0 : -1));
        $answers{ptrace} = syscall($here->{ptrace}, 16, $pid + 0, 0, 0);
        $answers{$_} = syscall($here->{$_}, $pid + 0, $place, 1, $place, 1, 0) for grep { /vm/ } keys %$here;
        $answers{kcmp} = syscall($here->{kcmp}, $$, $pid + 0, 0, 0, 0);
        $answers{pidfd_open} = syscall(434, $pid + 0, 0);
        $answers{$_} == -1 or print "ESCAPED: $_ $pid\n" for sort keys %answers;
    }
'
[ -n "$OTHERS" ] || echo ESCAPED: no others
"""
PAYLOADS = {
    "write the kernel's settings": """
        find /proc '(' -path '/proc/[0-9]*' -o -path /proc/self -o -path /proc/thread-self -o -path /proc/pressure ')' \
            -prune -o -name ns_last_pid -o -type f -writable -print 2>/dev/null |
            while read -r file; do [ -f "$file" ] && echo "$file" | marked; done
        for name in sys/kernel/core_pattern sys/kernel/modprobe sys/vm/drop_caches sys/fs/binfmt_misc/register \
            sysrq-trigger irq/default_smp_affinity; do try sh -c ": >> /proc/$name"; done
    """,
    "make namespaces": "for kind in U Ur Urm Ur=n m n p i u C; do try unshare -${kind%=*} true; done",
    "enter namespaces": "for kind in m n p i u C U a; do try nsenter --target 1 -$kind true; done",
    "mount, and lift what is mounted": """
        try mount -t tmpfs tmpfs /mnt; try mount -t proc proc /mnt; try mount -t sysfs sysfs /mnt
        try mount -t cgroup2 none /mnt; try mount --bind / /mnt; try mount -o remount,rw /
        try mount -o remount,rw /proc/sys; try mount -o remount,rw /.singularity.d/env/00-edge-agent.sh
        try umount /proc/sys; try umount -l /proc/sys; try umount -l /home/job; try umount -l /.edge-agent/marker
    """,
    "mount the control groups in a user namespace by clone3": MOUNT_GROUPS,
    "find control groups": """
        find / -path /proc -prune -o '(' -name cgroup.procs -o -name memory.max -o -name pids.max -o -name tasks ')' \
            -print 2>/dev/null | marked
        [ -z "$(ls -A /sys)" ] || echo ESCAPED: /sys
    """,
    "forbidden system calls": CALLS,
    "devices": """
        for name in mem kmem kmsg port fuse kvm net/tun loop-control vda sda nvme0n1 mapper disk; do
            [ -e /dev/$name ] && echo "ESCAPED: /dev/$name"
        done
        find /dev -type b 2>/dev/null | marked
        try mknod /tmp/disk b {disk}; try mknod disk b {disk}; try mknod mem c 1 1; try cat disk; try cat mem
        for gpu in "195 0" "195 1" "195 255" "226 0" "226 128" "508 0" "511 0"; do
            try mknod gpu c $gpu; try cat gpu
        done
        ls -d /dev/nvidia* /dev/dri /dev/kfd /dev/nvhost* /dev/nvmap /dev/dxg 2>/dev/null | marked
    """,
    "trace, read and write processes that are not its own": TRACE,
    "the init process of the container has more rights": """
        grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/1/status | grep -v '0000000000000000$' | marked
        grep -q '^NoNewPrivs:.1' /proc/1/status || echo ESCAPED: new privileges
        grep -q '^Seccomp:.2' /proc/1/status || echo ESCAPED: no filter
        for kind in mnt pid net ipc uts user; do
            [ "$(readlink /proc/1/ns/$kind)" = "$(readlink /proc/self/ns/$kind)" ] || echo ESCAPED: $kind
        done
    """,
    "type into a terminal": """
        for terminal in /dev/tty /dev/console /dev/tty0 /dev/tty1 /dev/pts/0 /dev/pts/1; do
            try sh -c ": <$terminal"
        done
        perl -e 'for my $fd (0 .. 20) {{
            open(my $file, "<&=", $fd) or next;
            my $typed = "x";
            print "ESCAPED: TIOCSTI\n" if ioctl($file, 0x5412, $typed);
        }}'
    """.replace("{{", "{").replace("}}", "}"),
    "capabilities": """
        grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | grep -v '0000000000000000$' | marked
        grep -q '^NoNewPrivs:.1' /proc/self/status || echo ESCAPED: new privileges
        grep -q '^Seccomp:.2' /proc/self/status || echo ESCAPED: no filter
    """,
    "setuid programs": """
        cp /bin/id mine; chmod 6755 mine
        for program in /bin/setuid-id ./mine; do [ "$($program -u)" = "$(id -u)" ] || echo "ESCAPED: $program"; done
    """,
    "limits of its own": """
        try sh -c 'ulimit -H -c unlimited'; try sh -c 'echo -1000 > /proc/self/oom_score_adj'
        try sh -c 'echo -1000 > /proc/1/oom_score_adj'
    """,
    "hard links to files of the host": """
        for file in /.edge-agent/marker /.singularity.d/env/00-edge-agent.sh /etc/passwd /etc/resolv.conf /bin/id \
            /tmp/../etc/group /run/secrets/KEY; do try ln $file link; done
    """,
    "write the runtime's program and the agent's files": """
        for file in /proc/1/exe /proc/self/exe /.singularity.d/env/00-edge-agent.sh /run/secrets/KEY /bin/id; do
            try sh -c ": >> $file"; try sh -c "rm $file"
        done
    """,
    "take back that it was started": """
        [ -p /.edge-agent/marker ] || echo ESCAPED: no marker
        try dd if=/.edge-agent/marker iflag=nonblock count=1; try chmod 600 /.edge-agent/marker
        try rm /.edge-agent/marker; try mv /.edge-agent /elsewhere
    """,
    "open files of the runtime": """
        for fd in /proc/[0-9]*/fd/*; do readlink $fd; done 2>/dev/null | grep '^/' |
            grep -v -e ^/dev/null -e ^/proc/ | marked
    """,
    "read the agent's secrets": """
        find / '(' -path /proc -o -path /dev -o -path /.edge-agent ')' -prune -o -type f \
            -exec grep -als '{token}' '{{}}' ';' 2>/dev/null | marked
        cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | grep -ac '{token}' | grep -v '^0$' | marked
        for place in {state} /proc/1/root{state} /proc/1/cwd/../.. /proc/1/root/home/job/../../..{state}; do
            try ls $place/attempts $place/journal.db
        done
    """,
}


def _parts(cell: Cell) -> dict[str, str]:
    """What scripts are told. The token is a pattern that does not find itself in the script."""
    disk = Path("/").stat().st_dev
    return {
        "disk": f"{os.major(disk)} {os.minor(disk)}",
        "state": str(cell.state),
        "token": cell.token.replace("t", "[t]", 1),
    }


def _filled(script: str, cell: Cell) -> str:
    return script.format(**_parts(cell)) if "{disk}" in script or "{token}" in script else script


@pytest.fixture
def neighbour(cell: Cell) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the payload's user, as those of agent and other jobs are."""
    process = subprocess.Popen(["sleep", "600"], user=cell.uid if os.geteuid() == 0 else None)
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("name", PAYLOADS)
def test_payload_cannot(cell: Cell, neighbour: subprocess.Popen[bytes], name: str) -> None:
    secrets = cell.directory / "secrets"
    secrets.mkdir()
    (secrets / "KEY").write_text("the job's own")
    os.chown(secrets, cell.uid, cell.uid)
    cell.has_terminal = True
    others = " ".join(map(str, (os.getpid(), os.getppid(), neighbour.pid)))
    script = PRELUDE + _filled(PAYLOADS[name], cell) + TRIED
    ended = cell.run(script, secrets=str(secrets), env={"OTHERS": others})
    assert neighbour.poll() is None
    assert ended.log == "tried\n"
    assert (ended.exit.exit_code, ended.exit.started) == (0, True)
    assert (secrets / "KEY").read_text() == "the job's own"


def test_payload_that_kills_everything_kills_itself_only(cell: Cell) -> None:
    ended = cell.run(f"kill -9 -1; kill -9 {os.getpid()} {os.getppid()} 2>/dev/null; kill -9 1; echo survived")
    assert ended.exit.why == "exited"
    assert "survived" in ended.log


def test_payload_is_in_namespaces_of_its_own(cell: Cell) -> None:
    kinds = ["ipc", "mnt", "net", "pid", "uts", *(["user"] if cell.uid else [])]
    ended = cell.run(f"for kind in {' '.join(kinds)}; do readlink /proc/self/ns/$kind; done")
    inside = ended.log.split()
    assert len(inside) == len(kinds)
    assert not set(inside) & {str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in kinds}


def test_payload_is_the_agents_user_and_no_other(cell: Cell) -> None:
    assert cell.run("id -u").log == f"{cell.uid}\n"


# --- the network ----------------------------------------------------------------------------------------------------

CONNECT = """
export LC_ALL=C
perl -e '
    my $loopback = pack("S n a4 x8", 2, $ENV{PORT}, "\\x7f\\0\\0\\1");
    my %how = (tcp => [2, $loopback], abstract => [1, pack("S a*", 1, "\\0$ENV{NAME}")]);
    for my $kind (sort keys %how) {
        my ($family, $address) = @{$how{$kind}};
        socket(my $socket, $family, 1, 0) or die;
        print "$kind\\n" if connect($socket, $address);
    }
'
"""


@pytest.fixture
def services(token: str) -> Iterator[dict[str, str]]:
    """Services of this host, at a port of the loopback device and at an abstract address."""
    tcp, abstract = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
    abstract.bind("\0" + token)
    abstract.listen()
    yield {"PORT": str(tcp.getsockname()[1]), "NAME": token}
    tcp.close()
    abstract.close()


def test_services_of_the_host_are_out_of_reach_without_network(cell: Cell, services: dict[str, str]) -> None:
    ended = cell.run(CONNECT + "grep -c . /proc/net/unix" + TRIED, env=services)
    assert ended.log == "1\ntried\n"  # the line of headings


def test_services_of_the_host_are_there_with_its_network(cell: Cell, services: dict[str, str]) -> None:
    assert cell.run(CONNECT, env=services, network="host").log == "abstract\ntcp\n"


# --- variables and words --------------------------------------------------------------------------------------------

STEERING = {
    "APPTAINER_BIND": "/etc:/host",
    "SINGULARITY_BIND": "/etc:/host",
    "APPTAINER_BINDPATH": "/etc:/host",
    "SINGULARITY_BINDPATH": "/etc:/host",
    "APPTAINER_WRITABLE_TMPFS": "1",
    "APPTAINER_NO_MOUNT": "tmp",
    "APPTAINER_NETWORK": "host",
    "APPTAINER_ADD_CAPS": "all",
    "APPTAINER_KEEP_PRIVS": "1",
    "APPTAINER_SECURITY": "uid:0",
    "APPTAINERENV_APPTAINER_BIND": "/etc:/host",
    "SINGULARITYENV_LD_PRELOAD": "/home/job/evil.so",
    "APPTAINERENV_PATH": "/home/job",
    "LD_PRELOAD": "/home/job/evil.so",
    "LD_LIBRARY_PATH": "/home/job",
    "LD_AUDIT": "/home/job/evil.so",
    "GODEBUG": "panicnil=1",
    "BASH_ENV": "/home/job/evil",
    "ENV": "/home/job/evil",
    "IFS": "s",
    "PS4": "$(echo ESCAPED)",
    "PROMPT_COMMAND": "echo ESCAPED",
    "TMPDIR": "/home/job",
}


def test_variables_do_not_steer_the_runtime(cell: Cell) -> None:
    script = "[ -e /host ] && echo ESCAPED: bound; (: > /bin/new) 2>/dev/null && echo ESCAPED: writable;"
    script += "grep -E '^Cap(Eff|Bnd)' /proc/self/status | grep -v 0000000000000000 | sed 's/^/ESCAPED: /';"
    script += "id -u; grep -c : /proc/net/dev"
    ended = cell.run(script, env=STEERING)
    said = [line for line in ended.log.splitlines() if "evil.so" not in line]  # the loader's own words
    assert said == [str(cell.uid), "1"]
    assert ended.exit.started


WORDS = (
    "$(touch {made})",
    "`touch {made}`",
    "'; touch {made}; '",
    '"; touch {made}; "',
    "\ntouch {made}\n",
    "${{IFS}}",
)


def test_nothing_in_a_value_or_word_is_run(cell: Cell) -> None:
    made = cell.state / "made"
    inside = "/tmp/made"  # noqa: S108 - the container's
    words = [word.format(made=f"{made} {inside}") for word in WORDS]
    env = {f"VALUE_{number}": word for number, word in enumerate(words, 1)}
    script = "".join(f'[ "$VALUE_{number}" = "${{{number}}}" ] && ' for number in range(1, len(words) + 1))
    ended = cell.run("", command=("sh", "-c", f"{script} [ ! -e {inside} ] && echo same", "sh", *words), env=env)
    assert ended.log == "same\n"
    assert not made.exists()


@pytest.mark.parametrize("word", ["--bind=/:/host", "-B/:/host", "--writable", "--help"])
def test_no_word_of_the_command_is_an_option_of_the_runtime(cell: Cell, word: str) -> None:
    ended = cell.run("", command=(word, "x"))
    assert (ended.exit.exit_code, ended.exit.started) == (255, True)
    assert word in ended.log


# --- floods ---------------------------------------------------------------------------------------------------------


def test_an_endless_log_is_cut_and_the_job_ended_in_time(cell: Cell) -> None:
    ended = cell.run("while :; do echo 0123456789; done", timeout=4.0, log_limit=10_000)
    assert ended.exit.why == "timeout"
    assert len(ended.log) < 10_200
    assert "truncated after 10000 bytes" in ended.log


def test_many_daemons_with_sessions_of_their_own_end_with_the_job(cell: Cell) -> None:
    daemon = "trap '' TERM; sleep 600; sleep 600"
    script = f'for n in $(seq 40); do setsid sh -c "{daemon}" & done; echo made'
    ended = cell.run(script, memory=1024**3)
    assert (ended.exit.exit_code, ended.log) == (0, "made\n")


def test_a_fork_bomb_ends_with_its_job_and_nobody_else(cell: Cell, neighbour: subprocess.Popen[bytes]) -> None:
    """Held by the kernel it goes on until the timeout; else the waiter ends it, by what it has too much of first."""
    cell.pids = 100
    bomb = "perl -e 'while (1) { my $child = fork; exec q(sleep), 600 if defined $child and not $child }'"
    ended = cell.run(f"{bomb} & {bomb}", memory=1024**3, timeout=5.0)
    assert ended.exit.why in ("pids", "memory", "timeout")
    assert ended.exit.started
    assert neighbour.poll() is None


def test_an_endless_file_and_a_sparse_one_stop_at_the_limit_of_disk(cell: Cell) -> None:
    limit = 8 * 1024**2
    script = "truncate -s 1T sparse && echo ESCAPED: sparse\ncp /dev/zero endless; cp /dev/zero /tmp/endless; :"
    ended = cell.run(PRELUDE + script, disk=limit)
    assert "ESCAPED" not in ended.log
    assert ended.exit.why == "disk"
    assert max(path.stat().st_size for path in cell.work.iterdir()) <= limit


def test_files_in_memory_count_as_memory(cell: Cell) -> None:
    """The kernel counts them where it holds the limit; elsewhere the waiter does."""
    script = "head -c 400000000 /dev/zero > /dev/shm/file; echo made; exec sleep 60"
    ended = cell.run(script, memory=64 * 1024**2)
    assert ended.exit.why == "memory"
