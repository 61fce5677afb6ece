namespace NodeAgent.Lab;

/// <summary>`lab demo`: the agent on a fresh machine, as its user sees it.</summary>
internal static class Demo
{
    public static async Task RunAsync(Laboratory lab)
    {
        await using var guest = await lab.BootAsync();
        await guest.InstallAgentAsync();
        foreach (var command in new[] { "nodeagent version", "nodeagent plan || true" })
        {
            Console.WriteLine($"\n# {command}");
            var result = await guest.RunAsync(command, TimeSpan.FromMinutes(2));
            Console.Write(result.Output + result.Error);
        }
    }
}
