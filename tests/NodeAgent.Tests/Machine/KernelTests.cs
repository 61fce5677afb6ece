using NodeAgent.Machine;
using Kernel = NodeAgent.Machine.Kernel;

namespace NodeAgent.Tests.Machine;

public sealed class KernelTests : IDisposable
{
    private readonly TemporaryDirectory _root = new();
    private readonly Kernel _kernel;

    public KernelTests()
    {
        _root.Put("proc/sys/kernel/osrelease", "6.12.0-cloud\n");
        _root.Put("proc/modules", "br_netfilter 36864 0 - Live 0x0000000000000000\nxfs 2666496 0 - Loading 0x0000000000000000\n");
        _root.Put("lib/modules/6.12.0-cloud/modules.builtin", "kernel/fs/ext4/ext4.ko\nkernel/net/ipv4/tcp-cubic.ko\n");
        _root.Put(
            "lib/modules/6.12.0-cloud/modules.dep",
            "kernel/fs/overlayfs/overlay.ko.xz:\nkernel/fs/xfs/xfs.ko: kernel/lib/crc/libcrc32c.ko\nkernel/net/ipvs/ip_vs.ko.zst: kernel/net/x.ko.zst\n");
        _kernel = new Kernel(_root.Path);
    }

    public void Dispose() => _root.Dispose();

    [Theory]
    [InlineData("br_netfilter", nameof(ModuleState.Loaded))]
    [InlineData("br-netfilter", nameof(ModuleState.Loaded))]
    [InlineData("tcp_cubic", nameof(ModuleState.BuiltIn))]
    [InlineData("ext4", nameof(ModuleState.BuiltIn))]
    [InlineData("overlay", nameof(ModuleState.Available))]
    [InlineData("ip_vs", nameof(ModuleState.Available))]
    [InlineData("xfs", nameof(ModuleState.Available))]
    [InlineData("libcrc32c", nameof(ModuleState.Unavailable))]
    [InlineData("nothing", nameof(ModuleState.Unavailable))]
    public void Modules_are_found_where_the_kernel_and_depmod_keep_them(string name, string state) => _kernel.Module(name).ToString().ShouldBe(state);

    [Fact]
    public void What_is_loaded_is_asked_again_once_forgotten()
    {
        _kernel.Module("overlay").ShouldBe(ModuleState.Available);
        _root.Put("proc/modules", "overlay 1 0 - Live 0x0\n");
        _kernel.Module("overlay").ShouldBe(ModuleState.Available);

        _kernel.Forget();

        _kernel.Module("overlay").ShouldBe(ModuleState.Loaded);
    }

    [Fact]
    public void A_kernel_without_module_files_shows_built_in_ones_in_sysfs()
    {
        _root.Put("sys/module/nvme/parameters/x");
        _root.Put("sys/module/zram/initstate", "live\n");

        _kernel.Module("nvme").ShouldBe(ModuleState.BuiltIn);
        _kernel.Module("zram").ShouldBe(ModuleState.Unavailable);
    }

    [Theory]
    [InlineData("net.ipv4.ip_forward", "net/ipv4/ip_forward")]
    [InlineData("net.ipv4.conf.eth0/1.rp_filter", "net/ipv4/conf/eth0.1/rp_filter")]
    [InlineData("net/ipv4/conf/eth0.1/rp_filter", "net/ipv4/conf/eth0.1/rp_filter")]
    public void Sysctls_follow_the_separator_rule(string name, string file)
    {
        _root.Put("proc/sys/" + file, "1\n");

        _kernel.Sysctl(name).ShouldBe("1");
        _kernel.SetSysctl(name, "2");
        _kernel.Sysctl(name).ShouldBe("2");
    }

    [Fact]
    public void Tabs_between_numbers_become_single_spaces()
    {
        _root.Put("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n");

        _kernel.Sysctl("net.ipv4.tcp_rmem").ShouldBe("4096 131072 6291456");
    }

    [Fact]
    public void A_key_the_kernel_does_not_have_is_null_and_cannot_be_set()
    {
        const string key = "net.bridge.bridge-nf-call-iptables";
        _kernel.Sysctl(key).ShouldBeNull();
        Should.Throw<MachineException>(() => _kernel.SetSysctl(key, "1")).Message.ShouldContain(key);
    }

    [Theory]
    [InlineData("net/../../../etc/passwd")]
    [InlineData("net.ipv4.")]
    [InlineData("/etc/passwd")]
    public void A_name_cannot_leave_the_directory_of_sysctls(string name) => Should.Throw<ProbeException>(() => _kernel.Sysctl(name));
}
