namespace NodeAgent.Tests;

/// <summary>For what another thread or machine does in its own time. Two minutes are for what hangs, and no measure of anything.</summary>
internal static class Wait
{
    public static Task Until(Func<bool> holds) => Until(() => Task.FromResult(holds()));

    public static async Task Until(Func<Task<bool>> holds)
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(2));
        while (!await holds())
        {
            await Task.Delay(10, patience.Token);
        }
    }
}
