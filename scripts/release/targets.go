package main

// target is a binary of `make release` with every name under which it is packaged.
type target struct {
	binary  string   // NAME of scripts/ci/cross
	boards  string   // for the release notes: whose it is
	openwrt []string // names of OpenWrt's architectures, as in DISTRIB_ARCH and /etc/apk/arch
	debian  string   // architecture of the .deb; "" = none is made
	image   platform // of the container image; zero = none is made
}

// platform is the platform of a container image, in the words of the OCI.
type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

// targets is in the order of the release notes. Packages of processors without a named FPU get the
// armv5 build, which uses none. OpenWrt's i386_pentium-mmx has no SSE2.
var targets = []target{
	{
		binary: "mipsle", boards: "MediaTek MT7621, MT7628, MT7688; Broadcom BCM47xx",
		openwrt: []string{"mipsel_24kc", "mipsel_74kc", "mipsel_mips32"},
	},
	{
		binary: "mips", boards: "Atheros and Qualcomm ath79, Lantiq",
		openwrt: []string{"mips_24kc", "mips_4kec", "mips_mips32"},
	},
	{
		binary: "armv5", boards: "Kirkwood, older Marvell, NXP and Cavium; ARM without a floating point unit",
		openwrt: []string{"arm_arm926ej-s", "arm_cortex-a7", "arm_cortex-a9", "arm_fa526", "arm_xscale"},
	},
	{
		binary: "armv6", boards: "Raspberry Pi 1 and Zero; every Raspberry Pi OS of 32 bit",
		openwrt: []string{"arm_arm1176jzf-s_vfp"}, debian: "armhf",
		image: platform{"arm", "linux", "v6"},
	},
	{
		binary: "armv7", boards: "IPQ40xx, IPQ806x, MVEBU, Sunxi, i.MX6 and 7",
		openwrt: []string{
			"arm_cortex-a15_neon-vfpv4", "arm_cortex-a5_vfpv4", "arm_cortex-a7_neon-vfpv4", "arm_cortex-a8_vfpv3",
			"arm_cortex-a9_vfpv3-d16",
		},
		image: platform{"arm", "linux", "v7"},
	},
	{
		binary: "arm64", boards: "MediaTek Filogic and MT7622, IPQ807x, Rockchip, Raspberry Pi 3 to 5 with 64 bit",
		openwrt: []string{"aarch64_cortex-a53", "aarch64_cortex-a72", "aarch64_cortex-a76", "aarch64_generic"}, debian: "arm64",
		image: platform{"arm64", "linux", "v8"},
	},
	{
		binary: "386", boards: "PC of 32 bit without SSE2: Geode, Pentium MMX",
		openwrt: []string{"i386_pentium-mmx"},
	},
	{
		binary: "386-sse2", boards: "PC of 32 bit from Pentium 4 on",
		openwrt: []string{"i386_pentium4"},
	},
	{
		binary: "amd64", boards: "PC and virtual machine of 64 bit",
		openwrt: []string{"x86_64"}, debian: "amd64", image: platform{"amd64", "linux", ""},
	},
	{
		binary: "riscv64", boards: "SiFive, StarFive, Allwinner D1",
		openwrt: []string{"riscv64_generic", "riscv64_riscv64"}, debian: "riscv64", image: platform{"riscv64", "linux", ""},
	},
}
