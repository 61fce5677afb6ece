namespace NodeAgent.Lab;

/// <summary>`lab shell`: a guest, and a line at a time to run in it.</summary>
internal static class Shell
{
    public static async Task RunAsync(Laboratory lab, bool container)
    {
        await using Guest guest = container ? await lab.StartContainerAsync() : await lab.BootAsync();
        Console.WriteLine("Each line runs in the guest. :install, :reboot, :power-cut and :stop-start act on it; end of input leaves.");
        while (true)
        {
            Console.Write("guest# ");
            switch (Console.ReadLine())
            {
                case null:
                    return;
                case "":
                    break;
                case ":install":
                    await guest.InstallAgentAsync();
                    break;
                case ":reboot":
                    await guest.RebootAsync();
                    break;
                case ":power-cut" when guest is VirtualMachine machine:
                    await machine.PowerCutAsync();
                    break;
                case ":stop-start" when guest is VirtualMachine machine:
                    await machine.StopStartAsync();
                    break;
                case var line:
                    await ExecuteAsync(guest, line);
                    break;
            }
        }
    }

    private static async Task ExecuteAsync(Guest guest, string line)
    {
        try
        {
            var result = await guest.RunAsync(line, TimeSpan.FromMinutes(10));
            Console.Write(result.Output + result.Error);
            if (result.ExitCode != 0)
            {
                Console.WriteLine($"[exit code {result.ExitCode}]");
            }
        }
        catch (LabException e)
        {
            Console.WriteLine(e.Message);
        }
    }
}
