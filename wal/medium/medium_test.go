package medium

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// machine builds a tree with the /proc and /sys of a machine: names of files and their content, or
// " -> " and the target of a link.
func machine(t *testing.T, mounts string, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	put := func(name, content string) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if to, ok := strings.CutPrefix(content, " -> "); ok {
			if err := os.Symlink(to, path); err != nil {
				t.Fatal(err)
			}
			return
		}
		writeFile(t, path, []byte(content))
	}
	put("proc/self/mountinfo", mounts)
	for name, content := range files {
		put(name, content)
	}
	return root
}

func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// card is an SD card with two partitions, and what else a machine may have.
var card = map[string]string{
	"sys/dev/block/179:0":                " -> ../../devices/mmc/block/mmcblk0",
	"sys/dev/block/179:2":                " -> ../../devices/mmc/block/mmcblk0/mmcblk0p2",
	"sys/devices/mmc/block/mmcblk0/stat": "1 1 1 1 1 1 9000 1 1 1 1",
	"sys/devices/mmc/block/mmcblk0/mmcblk0p2/stat": "   44412    15795  2735770     8773" +
		"   356052    64027  500    42670        1    17140    56889\n",
	"sys/devices/mmc/block/mmcblk0/mmcblk0p2/partition": "2\n",
	"sys/dev/block/7:0":                        " -> ../../devices/virtual/block/loop0",
	"sys/devices/virtual/block/loop0/stat":     "1 1 1 1 1 1 40 1 1 1 1",
	"sys/devices/virtual/block/zram1/stat":     "1 1 1 1 1 1 40 1 1 1 1",
	"sys/dev/block/253:1":                      " -> ../../devices/virtual/block/zram1",
	"sys/devices/pci/block/sda/sda2/partition": "2",
	"sys/devices/pci/block/sda/sda2/stat":      "1 1 1 1 1 1 77 1 1 1 1",
	"sys/class/block/sda2":                     " -> ../../devices/pci/block/sda/sda2",
	"sys/devices/pci/block/cciss!c0d0/stat":    "1 1 1",
	"sys/dev/block/104:0":                      " -> ../../devices/pci/block/cciss!c0d0",
	"overlay/upper/etc/config":                 "",
	"tmp/root/upper/x":                         "",
	"sys/class/mtd/mtd5/writesize":             "1\n",
	"sys/class/mtd/mtd6/writesize":             "2048\n",
	"sys/class/ubi/ubi0/min_io_size":           "2048\n",
	"sys/class/ubi/ubi0_0/name":                "rootfs\n",
	"sys/class/ubi/ubi0_1/name":                "rootfs_data\n",
	"sys/class/ubi/ubi1/min_io_size":           "512\n",
	"sys/class/ubi/ubi1_0/name":                "data\n",
	"sys/class/block/mtdblock5/stat":           "1 1 1 1 1 1 0 1 1 1 1",
	"sys/devices/virtual/block/mtdblock5/stat": "1 1 1 1 1 1 0 1 1 1 1",
	"sys/dev/block/31:5":                       " -> ../../devices/virtual/block/mtdblock5",
}

const openwrt = `15 20 0:3 / /proc rw,nosuid - proc proc rw
16 20 0:14 / /sys rw - sysfs sysfs rw
17 20 0:16 / /tmp rw,nosuid,nodev,noatime - tmpfs tmpfs rw
2 20 31:4 / /rom ro,relatime - squashfs /dev/root ro,errors=continue
`

func TestDeviceUnder(t *testing.T) {
	for name, tt := range map[string]struct {
		mounts, path, number string
		fs                   string
		want                 device
		commit               int64
		source               string
		sectors              uint64 // written; 0 = not counted
	}{
		"ext4 on a partition": {
			"25 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw\n", "/srv/edgesync", "",
			"ext4",
			device{name: "/dev/mmcblk0", fs: "ext4"},
			AssumedCommit, "assumed", 500,
		},
		"a disk without partitions": {
			"25 1 179:0 / / rw,noatime - f2fs /dev/mmcblk0 rw\n", "/srv", "",
			"f2fs",
			device{name: "/dev/mmcblk0", fs: "f2fs"},
			AssumedCommit, "assumed", 9000,
		},
		"a name with a slash": {
			"25 1 104:0 / / rw,noatime - ext4 /dev/cciss/c0d0 rw\n", "/srv", "",
			"ext4",
			device{name: "/dev/cciss/c0d0", fs: "ext4"},
			AssumedCommit, "assumed", 0,
		},
		"btrfs numbers itself": {
			"25 1 0:33 /@ / rw - btrfs /dev/sda2 rw,subvol=/@\n", "/srv", "0:50",
			"btrfs",
			device{name: "/dev/sda", fs: "btrfs"},
			AssumedCommit, "assumed", 77,
		},
		"a device without /sys": {
			"25 1 8:99 / / rw - ext4 /dev/sdz9 rw\n", "/srv", "",
			"ext4",
			device{name: "/dev/sdz9", fs: "ext4"},
			AssumedCommit, "assumed", 0,
		},
		"OpenWrt on NOR": {
			openwrt +
				"19 20 31:5 / /overlay rw,noatime - jffs2 /dev/mtdblock5 rw\n" +
				"20 0 0:18 / / rw,noatime - overlay overlayfs:/overlay rw,lowerdir=/,upperdir=/overlay/upper,workdir=/overlay/work\n",
			"/etc/edgesync", "0:18",
			"overlay",
			device{name: "/dev/mtd5", write: 1, fs: "jffs2"},
			AssumedCommit, "assumed", 0,
		},
		"jffs2 on NAND": {
			openwrt + "19 20 31:6 / /data rw,noatime - jffs2 /dev/mtdblock6 rw\n",
			"/data/edgesync", "31:6",
			"jffs2",
			device{name: "/dev/mtd6", write: 2048, fs: "jffs2"},
			2048, "minimal I/O size 2048 of /dev/mtd6", 0,
		},
		"OpenWrt on UBI": {
			openwrt +
				"19 20 0:17 / /overlay rw,noatime - ubifs /dev/ubi0_1 rw,assert=read-only,ubi=0,vol=1\n" +
				"20 0 0:18 / / rw - overlay overlayfs:/overlay rw,lowerdir=/,upperdir=/overlay/upper,workdir=/overlay/work\n",
			"/etc/edgesync", "0:18",
			"overlay",
			device{name: "/dev/ubi0_1", write: 2048, fs: "ubifs"},
			4096, "minimal I/O size 2048 of /dev/ubi0_1", 0,
		},
		"OpenWrt on an SD card": {
			openwrt +
				"19 20 7:0 / /overlay rw,noatime - f2fs /dev/loop0 rw\n" +
				"20 0 0:18 / / rw - overlay overlayfs:/overlay rw,lowerdir=/,upperdir=/overlay/upper,workdir=/overlay/work\n",
			"/etc/edgesync", "0:18",
			"overlay",
			device{name: "/dev/loop0", fs: "f2fs"},
			AssumedCommit, "assumed", 40,
		},
		"OpenWrt without an overlay partition": {
			openwrt + "20 0 0:18 / / rw - overlay overlayfs:/tmp/root rw,lowerdir=/,upperdir=/tmp/root/upper,workdir=/tmp/root/work\n",
			"/etc/edgesync", "0:18",
			"overlay",
			device{ram: true, fs: "tmpfs"},
			AssumedCommit, "assumed", 0,
		},
		"OpenWrt's /var": {
			openwrt + "19 20 31:5 / /overlay rw,noatime - jffs2 /dev/mtdblock5 rw\n", "/tmp/edgesync", "0:16",
			"tmpfs",
			device{ram: true, fs: "tmpfs"},
			AssumedCommit, "assumed", 0,
		},
		"a container": {
			"30 1 0:60 / / rw - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/A:/var/lib/docker/overlay2/l/B," +
				"upperdir=/var/lib/docker/overlay2/9/diff,workdir=/w\n",
			"/srv", "0:60",
			"overlay",
			device{},
			AssumedCommit, "assumed", 0,
		},
		"an overlay on itself": {
			"30 1 0:60 / / rw - overlay overlay rw,upperdir=/overlay/upper\n", "/srv", "0:60",
			"overlay",
			device{},
			AssumedCommit, "assumed", 0,
		},
		"a volume's name": {
			"19 20 0:17 / / rw - ubifs ubi0:rootfs_data rw\n", "/", "",
			"ubifs",
			device{name: "/dev/ubi0_1", write: 2048, fs: "ubifs"},
			4096, "minimal I/O size 2048 of /dev/ubi0_1", 0,
		},
		"a volume's name on the first device": {
			"19 20 0:17 / / rw - ubifs ubi!rootfs rw\n", "/", "",
			"ubifs",
			device{name: "/dev/ubi0_0", write: 2048, fs: "ubifs"},
			4096, "minimal I/O size 2048 of /dev/ubi0_0", 0,
		},
		"a volume's number": {
			"19 20 0:17 / / rw - ubifs ubi1 rw\n", "/", "",
			"ubifs",
			device{name: "/dev/ubi0_1", write: 2048, fs: "ubifs"},
			4096, "minimal I/O size 2048 of /dev/ubi0_1", 0,
		},
		"smaller pages": {
			"19 20 0:17 / / rw - ubifs ubi1_0 rw\n", "/", "",
			"ubifs",
			device{name: "/dev/ubi1_0", write: 512, fs: "ubifs"},
			2560, "minimal I/O size 512 of /dev/ubi1_0", 0,
		},
		"a volume that is not there": {
			"19 20 0:17 / / rw - ubifs ubi0:../../x rw\n", "/", "",
			"ubifs",
			device{name: "ubi0:../../x", fs: "ubifs"},
			AssumedCommit, "assumed", 0,
		},
		"a server's directory": {
			"25 1 0:40 / /mnt rw - nfs4 nas:/export/edge rw,vers=4.2\n", "/mnt/edge", "0:40",
			"nfs4",
			device{name: "nas:/export/edge", fs: "nfs4"},
			AssumedCommit, "assumed", 0,
		},
		"a file system in compressed RAM": {
			"25 1 253:1 / /var rw - ext4 /dev/zram1 rw\n", "/var", "253:1",
			"ext4",
			device{name: "/dev/zram1", ram: true, fs: "ext4"},
			AssumedCommit, "assumed", 40,
		},
		"blanks in names": {
			"25 1 179:2 / / rw - ext4 /dev/root rw\n26 25 0:40 / /mnt/my\\040data rw - nfs nas:/my\\040data rw\n", "/mnt/my data/edge", "",
			"nfs",
			device{name: "nas:/my data", fs: "nfs"},
			AssumedCommit, "assumed", 0,
		},
		"names that only begin alike": {
			"25 1 179:2 / / rw - ext4 /dev/root rw\n26 25 0:40 / /mnt/a rw - nfs nas:/a rw\n", "/mnt/ab", "",
			"ext4",
			device{name: "/dev/mmcblk0", fs: "ext4"},
			AssumedCommit, "assumed", 500,
		},
		"one mount over another": {
			"25 1 0:40 / /mnt rw - nfs nas:/a rw\n26 25 179:2 / /mnt rw - ext4 /dev/root rw\n", "/mnt", "",
			"ext4",
			device{name: "/dev/mmcblk0", fs: "ext4"},
			AssumedCommit, "assumed", 500,
		},
		"a deep mount hidden by a later one": {
			"25 1 0:40 / /mnt/a rw - nfs nas:/a rw\n26 25 179:2 / /mnt rw - ext4 /dev/root rw\n", "/mnt/a", "179:2",
			"ext4",
			device{name: "/dev/mmcblk0", fs: "ext4"},
			AssumedCommit, "assumed", 500,
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := machine(t, tt.mounts, card)
			on, d, ok := deviceUnder(root, tt.path, tt.number)
			if !ok || on.fs != tt.fs {
				t.Fatalf("%v, %+v", ok, on)
			}
			n, counted := d.written()
			if counted != (tt.sectors > 0) || n != 512*tt.sectors {
				t.Errorf("%d bytes written, %v; want %d sectors", n, counted, tt.sectors)
			}
			if b, s := d.commit(); b != tt.commit || s != tt.source {
				t.Errorf("a commit costs %d, %q; want %d, %q", b, s, tt.commit, tt.source)
			}
			d.stat = ""
			if d != tt.want {
				t.Errorf("got  %+v\nwant %+v", d, tt.want)
			}
		})
	}
	if _, d, ok := deviceUnder(t.TempDir(), "/", ""); ok || d != (device{}) {
		t.Errorf("without /proc: %+v, %v", d, ok)
	}
}

func TestDeviceNumber(t *testing.T) {
	for dev, want := range map[uint64]string{
		0xfe00: "254:0", 0xb302: "179:2", 0x1f05: "31:5", 0x30: "0:48", 0x100012: "0:274", // both encodings
		0x0000_1000_0010_0812: "4104:274",
	} {
		if got := deviceNumber(dev); got != want {
			t.Errorf("%#x is %s, want %s", dev, got, want)
		}
	}
}

func TestKindOf(t *testing.T) {
	for magic, want := range map[uint32]string{
		0x01021994: "tmpfs", 0x858458f6: "ramfs", 0xef53: "ext2/3/4", 0xf2f52010: "f2fs",
		0x24051905: "ubifs", 0x72b6: "jffs2", 0x12345: "0x12345",
	} {
		name, ram := kindOf(magic)
		if name != want || ram != (want == "tmpfs" || want == "ramfs") {
			t.Errorf("%#x is %s, in RAM: %v", magic, name, ram)
		}
	}
	if product(3, 4096) != 12288 || product(1<<60, 4096) != 1<<63-1 || product(5, 0) != 0 {
		t.Error("sizes")
	}
}

// FuzzMounts: a table names whatever somebody has mounted, and is parsed without harm.
func FuzzMounts(f *testing.F) {
	f.Add(openwrt, "/tmp/x")
	f.Add("25 1 0:33 /@ / rw - btrfs /dev/sda2 rw,subvol=/@\n", "/")
	f.Add("26 25 0:40 / /mnt/my\\040data rw - overlay o rw,upperdir=/a\\054b\\", "/mnt/my data")
	f.Fuzz(func(t *testing.T, table, path string) {
		mounts := parseMounts(table)
		if len(mounts) > strings.Count(table, "\n")+1 {
			t.Fatalf("%d mounts", len(mounts))
		}
		if m, ok := mountOf(mounts, path, "0:40"); ok {
			if !within(m.point, path) {
				t.Fatalf("%q is not on %q", path, m.point)
			}
			m.option("upperdir")
			ubiVolume("/nowhere", m.source)
		}
	})
}

// The trial takes what most commits cost, whoever else writes.
func TestTrial(t *testing.T) {
	for name, tt := range map[string]struct {
		adds []uint64 // bytes added by each commit; the first warms up
		want int64    // 0 = no result
	}{
		"alike":              {[]uint64{12288, 8192, 8192, 8192, 8192}, 8192},
		"two others write":   {[]uint64{8192, 1 << 19, 8192, 8192, 99 << 10}, 8192},
		"between":            {[]uint64{0, 4096, 5120, 6144, 7168}, 5120},
		"nothing is counted": {[]uint64{0, 0, 0, 0, 0}, 0},
		"a busy disk":        {[]uint64{4 << 20, 4 << 20, 4 << 20, 4 << 20, 4 << 20}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			calls, total := 0, uint64(1<<40)
			costs, err := trial(dir, func() (uint64, bool) {
				if calls++; calls%2 == 0 {
					total += tt.adds[calls/2-1]
				}
				return total, true
			}, time.Minute)
			if err != nil || !slices.Equal(costs, tt.adds[1:]) {
				t.Fatalf("costs %d, %v; want %d", costs, err, tt.adds[1:])
			}
			if n, ok := typical(costs); ok != (tt.want > 0) || ok && n != tt.want {
				t.Fatalf("%d, %v; want %d", n, ok, tt.want)
			}
			wantEmpty(t, dir)
		})
	}
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Fatalf("left behind: %v, %v", left, err)
	}
}

// Where the kernel counts nothing, only one commit is tried. A counter that ran over gives no
// result.
func TestTrialWithoutCounter(t *testing.T) {
	for _, counts := range []bool{false, true} {
		calls, total := 0, uint64(1000)
		costs, err := trial(t.TempDir(), func() (uint64, bool) { calls++; total--; return total, counts }, time.Minute)
		if len(costs) != 0 || err != nil || calls != 2 {
			t.Fatalf("%d, %v after %d calls", costs, err, calls)
		}
	}
	if _, ok := typical([]uint64{8192, 8192}); ok {
		t.Fatal("two commits are too few")
	}
}

// A medium whose fsync takes for ever delays the start by no more than the limit.
func TestTrialIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		calls, total := 0, uint64(0)
		begin := time.Now()
		costs, err := trial(dir, func() (uint64, bool) {
			if calls++; calls == 6 { // within the third commit
				time.Sleep(time.Hour)
			}
			total += 4096
			return total, true
		}, trialTime)
		if took := time.Since(begin); took != trialTime || err != nil || len(costs) != 1 {
			t.Fatalf("%v, %d, %v", took, costs, err)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		wantEmpty(t, dir)
		if calls != 6 {
			t.Fatalf("it went on: %d", calls)
		}
	})
}

func TestTrialFile(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, trialName), []byte("of a process that was killed"))
	f, remove, err := trialFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	if i, err := f.Stat(); err != nil || i.Size() != 0 {
		t.Fatalf("%v, %v", i, err)
	}
	remove()
	wantEmpty(t, dir)
	if _, _, err := trialFile(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("in a directory that is not there: %v", err)
	}
}

// Probe works on this machine, whatever it is.
func TestProbe(t *testing.T) {
	dir := t.TempDir()
	m, err := Probe(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", m)
	if m.FS == "" || m.ReadOnly || m.Total <= 0 || m.Free <= 0 || m.Free > m.Total {
		t.Errorf("%+v", m)
	}
	if m.CommitSource == "" || m.CommitBytes < 0 || m.CommitBytes > trialMost || m.RAM != (m.CommitBytes == 0) {
		t.Errorf("%+v", m)
	}
	wantEmpty(t, dir)
	if bytes, source := CommitCost(dir); source == "" || (bytes == 0) != m.RAM {
		t.Errorf("%d, %q", bytes, source)
	}
	without, err := Read(dir)
	if err != nil || without.FS != m.FS || without.RAM != m.RAM || without.Device != m.Device || without.Total != m.Total {
		t.Errorf("%+v, %v", without, err)
	}
	if proc, err := Read("/proc"); err != nil || proc.FS != "proc" || proc.Device != "" || proc.RAM {
		t.Errorf("%+v, %v", proc, err)
	}
	if _, err := Read(filepath.Join(dir, "missing")); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("of a directory that is not there: %v", err)
	}
	if bytes, source := CommitCost(filepath.Join(dir, "missing")); bytes != AssumedCommit || source != "assumed" {
		t.Errorf("%d, %q", bytes, source)
	}
}

// What a directory is worth: the file system under an overlay, whether that is raw flash, and what
// to beware of.
func TestWorth(t *testing.T) {
	overlay := "20 0 0:18 / / rw,noatime - overlay overlayfs:/overlay rw,lowerdir=/,upperdir=/overlay/upper,workdir=/overlay/work\n"
	at := func(mount string) string { return mount + overlay }
	for name, tt := range map[string]struct {
		mounts string
		words  string // of String
		raw    bool
		traps  []string // the beginning of each
	}{
		"NOR": {
			at("19 20 31:5 / /overlay rw - jffs2 /dev/mtdblock5 rw\n"),
			"overlay over jffs2 on /dev/mtd5, 8192 bytes a commit (assumed)", true, nil,
		},
		"UBI": {
			at("19 20 0:17 / /overlay rw - ubifs /dev/ubi0_1 rw\n"),
			"overlay over ubifs on /dev/ubi0_1, 4096 bytes a commit (minimal I/O size 2048 of /dev/ubi0_1)", true, nil,
		},
		"a card": {
			at("19 20 7:0 / /overlay rw - f2fs /dev/loop0 rw\n"),
			"overlay over f2fs on /dev/loop0, 8192 bytes a commit (assumed)", false, nil,
		},
		"RAM": {
			at("19 20 0:9 / /overlay rw - tmpfs tmpfs rw\n"),
			"overlay over tmpfs", false,
			[]string{"data_dir is in RAM (tmpfs): "},
		},
		"a jail": {
			"20 0 0:18 / / rw - overlay overlayfs:/overlay rw,lowerdir=/,upperdir=/elsewhere/upper,workdir=/w\n",
			"overlay, 8192 bytes a commit (assumed)", false, nil,
		},
		"jffs2": {
			"1 1 31:6 / / rw - jffs2 /dev/mtdblock6 rw\n",
			"jffs2 on /dev/mtd6, 2048 bytes a commit (minimal I/O size 2048 of /dev/mtd6)", true, nil,
		},
		"a stick": {
			"1 1 8:17 / / rw - vfat /dev/sdb1 rw,fmask=0022\n",
			"vfat on /dev/sdb1, 8192 bytes a commit (assumed)", false,
			[]string{"data_dir is on vfat, which has no owners: "},
		},
		"a server": {
			"1 1 0:40 / / rw - nfs4 nas:/x rw\n",
			"nfs4 on nas:/x, 8192 bytes a commit (assumed)", false,
			[]string{"data_dir is on nfs4, a server's: "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := machine(t, tt.mounts, card)
			dir := t.TempDir()
			m, _, err := read(root, dir)
			if err != nil {
				t.Fatal(err)
			}
			if m.String() != tt.words || m.Raw != tt.raw {
				t.Errorf("%q, raw: %v, want %q, %v", m, m.Raw, tt.words, tt.raw)
			}
			got := m.Traps()
			if len(got) != len(tt.traps) {
				t.Fatalf("traps %q, want %q", got, tt.traps)
			}
			for i, trap := range got {
				if !strings.HasPrefix(trap, tt.traps[i]) {
					t.Errorf("trap %q, want %q", trap, tt.traps[i])
				}
			}
		})
	}
	for _, tt := range []struct {
		m    Medium
		want string
	}{
		{Medium{FS: "jffs2", Free: 9, Total: 100}, "data_dir is on jffs2, of which less than a tenth is free: "},
		{Medium{FS: "overlay", Upper: "jffs2", Free: 9, Total: 100}, "data_dir is on jffs2, of which less than a tenth is free: "},
		{Medium{FS: "jffs2", Free: 10, Total: 100}, ""},
		{Medium{FS: "squashfs", ReadOnly: true}, "data_dir is on squashfs, which is read-only: "},
	} {
		if got := strings.Join(tt.m.Traps(), "; "); !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%+v: %q, want %q", tt.m, got, tt.want)
		}
	}
	if refusesAllocation(t.TempDir()) || refusesAllocation(filepath.Join(t.TempDir(), "missing")) {
		t.Error("this machine's file system has fallocate, and what is not there refuses nothing")
	}
}

func TestFloor(t *testing.T) {
	for _, c := range []struct {
		m    Medium
		want int64
	}{
		{Medium{FS: "ext4", Total: 8 << 30}, 0},
		{Medium{FS: "f2fs", Total: 64 << 20}, 0},
		{Medium{FS: "jffs2", Raw: true, Total: 2 << 20}, 256 << 10},
		{Medium{FS: "ubifs", Raw: true, Total: 64 << 20}, 2 << 20},
		{Medium{FS: "ubifs", Raw: true, Total: 1 << 30}, 8 << 20},
		{Medium{FS: "overlay", Upper: "jffs2", Raw: true, Total: 12 << 20}, 384 << 10},
		{Medium{FS: "overlay", Upper: "f2fs", Total: 96 << 20}, 3 << 20},
		{Medium{FS: "overlay", RAM: true, Total: 64 << 20}, 0},
	} {
		if got := c.m.Floor(); got != c.want {
			t.Errorf("%s of %d bytes: %d, want %d", c.m.String(), c.m.Total, got, c.want)
		}
	}
}
